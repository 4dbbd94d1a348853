package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-smtp"

	"mailweir/internal/config"
	"mailweir/internal/dns/dnstest"
	"mailweir/mail"
	"mailweir/smtpd"
)

const demoHelp = `
gateway demo [--serve] [-v]

Starts the gateway with an embedded config, a DNS server and a sink as next
hop, all on loopback, sends a handful of messages through it, and shows what
each was judged as and what reached the sink. Needs neither root nor network;
with a clamd on its usual socket, EICAR is sent too.

exit status: 0 when every message went as it should, else 1.
`

//go:embed demo
var demoFiles embed.FS

// demoMessage is one message of the demo and what must become of it.
type demoMessage struct {
	title    string
	file     string
	client   string // address that the client claims by XCLIENT
	from, to string
	sign     bool // by DKIM, as sender.example
	code     int  // of the reply
	relayed  bool
}

var demoMessages = []demoMessage{
	{title: "an honest message, with SPF, DKIM and DMARC", file: "ham.eml", client: "192.0.2.10",
		from: "alice@sender.example", to: "bob@example.org", sign: true, code: 250, relayed: true},
	{title: "mail from our own network: its address must not leave", file: "own.eml", client: "198.51.100.77",
		from: "carol@example.org", to: "bob@example.org", code: 250, relayed: true},
	{title: "a forged sender: DMARC fails, p=reject", file: "forged.eml", client: "203.0.113.5",
		from: "alice@sender.example", to: "bob@example.org", code: 250, relayed: false},
	{title: "GTUBE, the test of spam filters", file: "gtube.eml", client: "203.0.113.6",
		from: "news@shop.example", to: "bob@example.org", code: 554},
	{title: "a client that a DNSBL lists", file: "ham.eml", client: "192.0.2.66",
		from: "alice@sender.example", to: "bob@example.org", code: 554},
	{title: "somebody else's domain: this is no open relay", file: "ham.eml", client: "192.0.2.10",
		from: "alice@sender.example", to: "victim@elsewhere.example", code: 554},
}

var eicarMessage = demoMessage{title: "EICAR, the test of virus scanners", file: "eicar.eml", client: "203.0.113.7",
	from: "dave@shop.example", to: "bob@example.org", code: 554}

func demoCommand(ctx context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "demo", demoHelp)
	serve := fs.Bool("serve", false, "keep the gateway running until interrupted")
	verbose := fs.Bool("v", false, "show the gateway's log")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) > 0 {
		return 0, errUsage
	}
	d, err := startDemo(ctx, std, *verbose)
	if err != nil {
		return exitError, err
	}
	wrong := d.sendAll(ctx)
	if *serve {
		d.invite()
		<-ctx.Done()
	}
	if err := d.close(); err != nil {
		return exitError, err
	}
	if wrong > 0 {
		return exitError, fmt.Errorf("%d messages did not go as they should", wrong)
	}
	return exitOK, nil
}

// demo is the gateway and what stands around it.
type demo struct {
	out    io.Writer
	dir    string
	dns    *dnstest.Server
	sink   *demoSink
	gw     *gateway
	seen   chan *smtpd.Record
	signer ed25519.PrivateKey
	clamav string
}

func startDemo(ctx context.Context, std stdio, verbose bool) (d *demo, err error) {
	d = &demo{out: std.out, seen: make(chan *smtpd.Record, 16)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.dir, err = os.MkdirTemp("", "mailweir-demo-"); err != nil {
		return d, err
	}
	if err = d.startDNS(); err != nil {
		return d, err
	}
	if d.sink, err = newDemoSink(); err != nil {
		return d, err
	}
	d.clamav = localClamd()
	cfg, err := d.config(verbose)
	if err != nil {
		return d, err
	}
	log := slog.New(slog.DiscardHandler)
	if verbose {
		if log, err = newLogger(std, cfg); err != nil {
			return d, err
		}
	}
	d.gw, err = start(ctx, cfg, log, startOptions{tee: d})
	if err == nil {
		fmt.Fprintf(d.out, "gateway on %s, sink on %s, all state in %s\n", d.gw.listeners[0].Addr(), d.sink.addr, d.dir)
	}
	return d, err
}

// startDNS serves the demo's zones, with a fresh DKIM key in them.
func (d *demo) startDNS() error {
	zone, err := demoFiles.ReadFile("demo/zone.txt")
	if err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	d.signer = private
	record := fmt.Sprintf("demo._domainkey.sender.example. 300 TXT \"v=DKIM1; k=ed25519; p=%s\"\n",
		base64.StdEncoding.EncodeToString(public))
	d.dns, err = dnstest.New(string(zone) + record)
	return err
}

// localClamd is the socket of a clamd with its usual address, if one answers.
func localClamd() string {
	for _, path := range []string{"/run/clamav/clamd.ctl", "/run/clamd.scan/clamd.sock", "/var/run/clamav/clamd.sock"} {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return path
		}
	}
	return ""
}

// config loads the embedded file like any other.
func (d *demo) config(verbose bool) (*config.Config, error) {
	text, err := demoFiles.ReadFile("demo/gateway.toml")
	if err != nil {
		return nil, err
	}
	t, err := template.New("gateway.toml").Parse(string(text))
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	level := "warn"
	if verbose {
		level = "info"
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"DataDir": filepath.Join(d.dir, "data"), "Listen": ports[0], "Metrics": ports[1],
		"DNS": d.dns.Addr(), "Sink": d.sink.addr, "ClamAV": d.clamav, "Level": level,
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.dir, "gateway.toml")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	return loadConfig(path)
}

// freePorts finds ports for a config file, which wants numbers.
func freePorts(n int) ([]string, error) {
	var list []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// Append implements smtpd.Recorder: the demo looks at the verdicts.
func (d *demo) Append(_ mail.ID, kind string, _ time.Time, v any) {
	if r, ok := v.(*smtpd.Record); ok && kind == "verdict" {
		d.seen <- r
	}
}

// sendAll sends the messages one by one and returns how many went wrong.
func (d *demo) sendAll(ctx context.Context) (wrong int) {
	list := demoMessages
	if d.clamav != "" {
		list = append(list[:len(list):len(list)], eicarMessage)
	}
	for _, m := range list {
		fmt.Fprintf(d.out, "\n== %s\n   client %s, from <%s> to <%s>\n", m.title, m.client, m.from, m.to)
		if err := d.send(ctx, m); err != nil {
			wrong++
			fmt.Fprintf(d.out, "   WRONG      %v\n", err)
		}
	}
	return wrong
}

func (d *demo) send(ctx context.Context, m demoMessage) error {
	data, err := d.message(m)
	if err != nil {
		return err
	}
	text, code, err := d.submit(m, data)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "   reply      %d %s\n", code, text)
	select {
	case r := <-d.seen:
		d.verdict(r)
	case <-time.After(5 * time.Second):
		return errors.New("no verdict was recorded")
	}
	if code != m.code {
		return fmt.Errorf("the reply should have been %d", m.code)
	}
	return d.arrival(ctx, m)
}

func (d *demo) verdict(r *smtpd.Record) {
	if r.Facts == nil {
		fmt.Fprintf(d.out, "   verdict    refused before any data (%s)\n", r.Reason)
		return
	}
	why := ""
	if r.Reason != "" {
		why = " (" + r.Reason + ")"
	}
	fmt.Fprintf(d.out, "   verdict    %s%s, score %.1f, tagged from %.1f, %.1f ms after the final dot\n",
		r.Action, why, r.Score, r.Required, float64(r.Timings.AfterDot)/1000)
	for _, s := range r.Symbols {
		if s.Score != 0 {
			fmt.Fprintf(d.out, "              %7.2f %s %s\n", s.Score, s.Name, s.Detail)
		}
	}
}

// arrival waits for what the sink got, or makes sure that it got nothing.
func (d *demo) arrival(ctx context.Context, m demoMessage) error {
	wait := 300 * time.Millisecond
	if m.relayed {
		wait = 10 * time.Second
	}
	select {
	case got := <-d.sink.got:
		if !m.relayed {
			return errors.New("it reached the sink")
		}
		d.showArrived(got)
	case <-time.After(wait):
		if m.relayed {
			return errors.New("it did not reach the sink")
		}
		if m.code == 250 {
			fmt.Fprintln(d.out, "   queue      held; 'gateway queue release' would relay it")
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// showArrived prints the fields that the gateway added or changed.
func (d *demo) showArrived(msg []byte) {
	n, _ := mail.HeaderLength(msg)
	h := mail.ParseHeader(msg[:n])
	for _, f := range h.Fields {
		for _, name := range []string{"Authentication-Results", "X-Spam-Status", "X-Spam-Flag", "Received", "X-Originating-IP"} {
			if f.Is(name) {
				text := strings.ReplaceAll(strings.TrimRight(string(f.Raw), "\r\n"), "\r\n", "\n              ")
				fmt.Fprintf(d.out, "   sink got   %s\n", text)
			}
		}
	}
}

// message fills in a message's template, and signs it.
func (d *demo) message(m demoMessage) ([]byte, error) {
	text, err := demoFiles.ReadFile("demo/" + m.file)
	if err != nil {
		return nil, err
	}
	t, err := template.New(m.file).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"Date": time.Now().Format(time.RFC1123Z),
		// In halves, or scanners would flag this very file.
		"GTUBE": "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-" + "UBE-TEST-EMAIL*C.34X",
		"EICAR": `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`,
	})
	if err != nil {
		return nil, err
	}
	data := normalize(b.Bytes())
	if !m.sign {
		return data, nil
	}
	var signed bytes.Buffer
	err = dkim.Sign(&signed, bytes.NewReader(data), &dkim.SignOptions{
		Domain: "sender.example", Selector: "demo", Signer: d.signer,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID"},
	})
	return signed.Bytes(), err
}

// submit sends one message in a session of its own and returns the reply that
// ended it.
func (d *demo) submit(m demoMessage, data []byte) (text string, code int, err error) {
	conn, err := net.Dial("tcp", d.gw.listeners[0].Addr().String())
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	if conn, err = claim(conn, m.client); err != nil {
		return "", 0, err
	}
	c := smtp.NewClient(conn)
	text, err = transact(c, m, data)
	var refused *smtp.SMTPError
	if errors.As(err, &refused) {
		return fmt.Sprintf("%d.%d.%d %s", refused.EnhancedCode[0], refused.EnhancedCode[1], refused.EnhancedCode[2], refused.Message), refused.Code, nil
	}
	return text, 250, err
}

func transact(c *smtp.Client, m demoMessage, data []byte) (string, error) {
	if err := c.Hello("mail.sender.example"); err != nil {
		return "", err
	}
	if err := c.Mail(m.from, nil); err != nil {
		return "", err
	}
	if err := c.Rcpt(m.to, nil); err != nil {
		return "", err
	}
	w, err := c.Data()
	if err != nil {
		return "", err
	}
	if _, err := w.Write(data); err != nil {
		return "", err
	}
	resp, err := w.CloseWithResponse()
	if err != nil {
		return "", err
	}
	return resp.StatusText, c.Quit()
}

// claim speaks XCLIENT on a fresh connection, and returns the connection with
// the new banner still to be read.
func claim(conn net.Conn, addr string) (net.Conn, error) {
	r := bufio.NewReader(conn)
	for _, command := range []string{"", "EHLO demo.example\r\n", "XCLIENT ADDR=" + addr + "\r\n"} {
		if _, err := io.WriteString(conn, command); err != nil {
			return nil, err
		}
		for more := true; more; {
			line, err := r.ReadString('\n')
			if err != nil {
				return nil, err
			}
			more = len(line) > 3 && line[3] == '-'
			if line[0] != '2' {
				return nil, errors.New("XCLIENT: " + strings.TrimSpace(line))
			}
		}
	}
	return &rebannered{conn, strings.NewReader("220 after XCLIENT\r\n")}, nil
}

// rebannered gives the client the banner of the fresh session.
type rebannered struct {
	net.Conn
	banner *strings.Reader
}

func (c *rebannered) Read(p []byte) (int, error) {
	if c.banner.Len() > 0 {
		return c.banner.Read(p)
	}
	return c.Conn.Read(p)
}

// invite tells what to try while the demo keeps running.
func (d *demo) invite() {
	config := filepath.Join(d.dir, "gateway.toml")
	fmt.Fprintf(d.out, `
The gateway keeps running; Ctrl-C ends it. Try, in another terminal:
  swaks --server %s --from you@shop.example --to bob@example.org
  gateway queue list --config %s
  curl http://%s/metrics
  curl http://%s/readyz
`, d.gw.listeners[0].Addr(), config, d.gw.cfg.Metrics.Address, d.gw.cfg.Metrics.Address)
	go func() { // show what arrives from now on
		for {
			select {
			case r := <-d.seen:
				fmt.Fprintf(d.out, "\n== from <%s>: %s\n", r.ReversePath, r.Reply)
				d.verdict(r)
			case msg := <-d.sink.got:
				d.showArrived(msg)
			}
		}
	}()
}

func (d *demo) close() error {
	var errs []error
	if d.gw != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, d.gw.stop(ctx))
	}
	if d.sink != nil {
		errs = append(errs, d.sink.close())
	}
	if d.dns != nil {
		d.dns.Close()
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// demoSink is the next hop: go-smtp's server, which keeps what it gets.
type demoSink struct {
	addr   string
	got    chan []byte
	server *smtp.Server
	done   chan error
}

func newDemoSink() (*demoSink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &demoSink{addr: l.Addr().String(), got: make(chan []byte, 16), done: make(chan error, 1)}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return sinkSession{s}, nil }))
	s.server.Domain = "sink.example"
	s.server.MaxLineLength = 1 << 20
	go func() { s.done <- s.server.Serve(l) }()
	return s, nil
}

func (s *demoSink) close() error {
	err := s.server.Close()
	if served := <-s.done; !errors.Is(served, smtp.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

type sinkSession struct{ s *demoSink }

func (sinkSession) Mail(string, *smtp.MailOptions) error { return nil }
func (sinkSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (sinkSession) Reset()                               {}
func (sinkSession) Logout() error                        { return nil }

func (k sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		k.s.got <- b
	}
	return err
}
