package main

import (
	"context"
	"crypto/ed25519"
	"embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

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
	if !*serve {
		fmt.Fprintf(std.out, "\nAll went as it should. 'gateway demo --serve' keeps the gateway running, for messages of yours.\n")
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
	endLog func() error
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
		logs, err := newLogs(std, cfg)
		if err != nil {
			return d, err
		}
		log, d.endLog = logs.logger, logs.end
	}
	d.gw, err = start(ctx, cfg, log, startOptions{tee: d})
	if err == nil {
		fmt.Fprintf(d.out, "gateway on %s, sink on %s, all state in %s\n", d.gw.listeners[0].Addr(), d.sink.addr, d.dir)
	}
	return d, err
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
	if d.clamav == "" {
		fmt.Fprintf(d.out, "\n== %s\n   not sent: no clamd answers on its usual socket\n", eicarMessage.title)
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
	if d.endLog != nil {
		errs = append(errs, d.endLog())
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
