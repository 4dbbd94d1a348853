package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"mailweir/filter"
	"mailweir/internal/config"
	"mailweir/internal/recipients"
	"mailweir/mail"
	"mailweir/smtpd"
)

const checkHelp = `

gateway check --config FILE [flags] FILE|DIR|-...

Judges messages by the very same pipeline as the running gateway, and delivers
nothing. Files with LF line ends are read as CRLF, and a leading mbox "From "
line is dropped. Without --client-ip, the checks of the connection and SPF are
skipped. A directory is read with everything below it; several files give one
JSON object a line with --json.

exit status for one file: 0 accept, 10 tag or quarantine, 20 defer, 30 reject
or discard, 1 when it could not be judged; for several files: 0, or 1 when one
could not be judged.
`

// checkOptions is the transaction that the messages are judged in.
type checkOptions struct {
	config   string
	clientIP string
	helo     string
	mailFrom string
	rcpts    stringList
	noDNS    bool
	json     bool
}

type stringList []string

func (l *stringList) String() string { return strings.Join(*l, ",") }

func (l *stringList) Set(s string) error { *l = append(*l, s); return nil }

func checkCommand(ctx context.Context, std stdio, args []string) (int, error) {
	var o checkOptions
	fs := flags(std, "check", checkHelp)
	fs.StringVar(&o.config, "config", "", "config `FILE`")
	fs.StringVar(&o.clientIP, "client-ip", "", "`ADDRESS` that the client connected from")
	fs.StringVar(&o.helo, "helo", "", "`NAME` that it greeted with")
	fs.StringVar(&o.mailFrom, "mail-from", "", "reverse-path `ADDRESS` (default: the message's Return-Path, or none)")
	fs.Var(&o.rcpts, "rcpt", "recipient `ADDRESS`, may be repeated (default: one of the first domain)")
	fs.BoolVar(&o.noDNS, "no-dns", false, "ask no DNS: checks that need it are skipped")
	fs.BoolVar(&o.json, "json", false, "print one JSON object a message")
	files, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(files) == 0 || o.config == "" {
		return 0, errUsage
	}
	c, err := newChecker(ctx, &o)
	if err != nil {
		return exitError, err
	}
	defer c.close()
	return c.all(ctx, std, files)
}

// checker judges files with one set of parts.
type checker struct {
	o      *checkOptions
	set    *smtpd.Settings
	client mail.Client
	from   mail.Path
	rcpts  []mail.Path
	verify bool // --rcpt was given: do they exist?
	limit  int64
	close  func()
}

func newChecker(ctx context.Context, o *checkOptions) (*checker, error) {
	cfg, err := loadConfig(o.config)
	if err != nil {
		return nil, err
	}
	c := &checker{o: o, verify: len(o.rcpts) > 0, limit: int64(cfg.Limits.MessageSize)}
	if c.client, err = o.client(); err != nil {
		return nil, err
	}
	if o.mailFrom != "" {
		if c.from, err = mail.ParsePath(strings.Trim(o.mailFrom, "<>"), true); err != nil {
			return nil, fmt.Errorf("--mail-from %q is not an address", o.mailFrom)
		}
	}
	if len(o.rcpts) == 0 {
		o.rcpts = stringList{"check@" + string(cfg.Domains[0].Name)}
	}
	for _, r := range o.rcpts {
		p, err := mail.ParsePath(strings.Trim(r, "<>"), true)
		if err != nil || p.IsNull() {
			return nil, fmt.Errorf("--rcpt %q is not an address", r)
		}
		c.rcpts = append(c.rcpts, p)
	}
	judge, err := newJudge(ctx, cfg, judgeOptions{noDNS: o.noDNS, offline: true, verify: listedRecipients})
	if err != nil {
		return nil, err
	}
	c.set, c.close = judge.settings, judge.close
	c.client.Own = c.set.Own(c.client.Addr)
	if judge.lists != nil && !o.noDNS && c.client.Addr.IsValid() {
		judge.lists.Canaries(ctx) // a broken list must not refuse anything here either
	}
	return c, nil
}

// listedRecipients knows recipients by file. No next hop is asked: check talks
// to nobody but DNS and the scanner.
func listedRecipients(d *config.Domain) (smtpd.Verifier, error) {
	if d.Recipients == "" {
		return nil, nil
	}
	return recipients.Load(string(d.Recipients), slog.New(slog.DiscardHandler))
}

func (o *checkOptions) client() (mail.Client, error) {
	c := mail.Client{ESMTP: true}
	if o.helo != "" {
		if !mail.ValidDomain(o.helo, false) {
			return c, fmt.Errorf("--helo %q is not a host name or address literal", o.helo)
		}
		c.Helo = o.helo
	}
	if o.clientIP != "" {
		addr, err := netip.ParseAddr(o.clientIP)
		if err != nil {
			return c, fmt.Errorf("--client-ip %q is not an IP address", o.clientIP)
		}
		c.Addr = addr.Unmap()
	}
	return c, nil
}

// all judges every file, in parallel, and prints in order.
func (c *checker) all(ctx context.Context, std stdio, args []string) (int, error) {
	files, err := expand(args)
	if err != nil {
		return exitError, err
	}
	progress := newProgress(std.err, len(files))
	results := make([]chan *finding, len(files))
	for k := range results {
		results[k] = make(chan *finding, 1)
	}
	var next sync.WaitGroup
	work := make(chan int)
	for range min(len(files), runtime.GOMAXPROCS(0)) {
		next.Go(func() {
			for k := range work {
				results[k] <- c.file(ctx, std.in, files[k])
			}
		})
	}
	go func() {
		for k := range files {
			work <- k
		}
		close(work)
	}()
	code := exitOK
	for k := range files {
		f := <-results[k]
		progress.step()
		c.print(std.out, f, len(files) > 1)
		switch {
		case f.Error != "":
			code = exitError
		case len(files) == 1:
			code = exitFor(f.Action)
		}
	}
	progress.done()
	next.Wait()
	return code, nil
}

// expand replaces directories by the files below them, in order of name.
func expand(args []string) ([]string, error) {
	var files []string
	for _, a := range args {
		info, err := os.Stat(a)
		if a == "-" || err != nil || !info.IsDir() {
			files = append(files, a) // one that is not there is a finding of its own
			continue
		}
		err = filepath.WalkDir(a, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no files in %s", strings.Join(args, ", "))
	}
	return files, nil
}

func (c *checker) file(ctx context.Context, stdin io.Reader, name string) *finding {
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(stdin)
	} else {
		data, err = os.ReadFile(name)
	}
	var f *finding
	if err == nil {
		f, err = c.message(ctx, normalize(data))
	}
	if err != nil {
		f = newFinding()
		f.Error = err.Error()
	}
	f.File = name
	return f
}

// normalize makes of a stored message what a client would send: no mbox
// separator, CRLF line ends, the last line complete. A bare CR stays: it is
// for the verdict to refuse.
func normalize(data []byte) []byte {
	if bytes.HasPrefix(data, []byte("From ")) && !bytes.HasPrefix(bytes.TrimLeft(data[5:], " \t"), []byte(":")) {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	if bytes.Count(data, []byte("\n")) != bytes.Count(data, []byte("\r\n")) {
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\r\n")) {
		data = append(data[:len(data):len(data)], "\r\n"...)
	}
	return data
}

// message runs one transaction: what smtpd does, without a client.
func (c *checker) message(ctx context.Context, data []byte) (*finding, error) {
	now := time.Now()
	env := &mail.Envelope{ID: mail.NewID(now), Arrived: now, Client: c.client, ReversePath: c.from}
	if c.o.mailFrom == "" {
		env.ReversePath = returnPath(data)
	}
	for _, r := range c.rcpts {
		env.Recipients = append(env.Recipients, mail.Recipient{Path: r})
	}
	switch {
	case int64(len(data)) > c.limit:
		return refusedFinding(env, smtpd.TooBig(env.ID)), nil
	case bytes.IndexByte(data, 0) >= 0 || bytes.Count(data, []byte("\r")) != bytes.Count(data, []byte("\r\n")):
		return refusedFinding(env, smtpd.Bare(env.ID)), nil
	}
	conn := c.set.Pipeline.Connect(ctx, c.client)
	defer conn.Close()
	i := conn.Begin(ctx, c.client, env)
	defer i.Close()
	i.Receive(bytes.NewReader(data))
	if err := i.Write(data); errors.Is(err, filter.ErrHeaderTooLarge) {
		return refusedFinding(env, smtpd.HeaderTooLarge(env.ID)), nil
	} else if err != nil {
		return nil, err
	}
	j := i.Judge(ctx, mail.Bytes(data))
	return c.finding(ctx, i, j, env), ctx.Err()
}

// returnPath is the reverse-path that a stored message kept, if it did.
func returnPath(data []byte) mail.Path {
	n, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:n])
	p, err := mail.ParsePath(strings.Trim(h.Value("Return-Path"), "<> "), true)
	if err != nil {
		return mail.NullPath
	}
	return p
}
