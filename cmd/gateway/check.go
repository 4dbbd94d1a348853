package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"mailweir/filter"
	"mailweir/filter/bayes"
	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/internal/recipients"
	"mailweir/mail"
	"mailweir/smtpd"
)

const checkHelp = `

gateway check --config FILE [flags] FILE|DIR|-...

Judges messages by the very same pipeline as the running gateway, and delivers
nothing. Files with LF line ends are read as CRLF; one whose first line ends in
CRLF is judged as it is, and refused for a bare LF as it would be on the wire. A
leading mbox "From " line is dropped. Without --client-ip, the checks of the
connection and SPF are skipped. A directory is read with everything below it, in
parallel, and an mbox file message by message (FILE:1, FILE:2, ...); several
messages give one JSON object a line with --json. A directory may have a file
envelopes.jsonl that says how each message came, one object a line with "file" (a
path below the directory), "client_ip", "helo" and "mail_from"; a flag overrides
it.

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
	explain  bool
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
	fs.BoolVar(&o.explain, "explain", false, "tell how each authentication result came about, with all DNS answers, and what the learned filter's opinion hangs on (as text, one file always does)")
	files, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(files) == 0 || o.config == "" {
		return 0, errUsage
	}
	cfg, err := loadConfig(o.config)
	if err != nil {
		return exitError, err
	}
	o.explain = o.explain || len(files) == 1 && !o.json
	c, err := newChecker(ctx, cfg, &o)
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
	rules  *rules.Rules
	bayes  *bayes.Check
	client mail.Client
	from   mail.Path
	rcpts  []mail.Path
	verify bool // --rcpt was given: do they exist?
	limit  int64
	delay  time.Duration // that greylisting makes new senders wait; 0: there is none
	close  func()

	canaries func() // before the first look-up in a list; nil without lists
}

func newChecker(ctx context.Context, cfg *config.Config, o *checkOptions) (*checker, error) {
	var err error
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
	judge, err := newJudge(ctx, cfg, judgeOptions{noDNS: o.noDNS, offline: true, verify: listedRecipients, explain: o.explain})
	if err != nil {
		return nil, err
	}
	c.set, c.rules, c.bayes, c.close = judge.settings, judge.rules, judge.learned, judge.close
	c.client.Own = c.set.Own(c.client.Addr)
	if cfg.HasGreylist() && !slices.Contains(cfg.Checks.Disabled, "greylist") {
		c.delay = cfg.Greylist.Delay
	}
	if len(judge.lists) > 0 && !o.noDNS {
		// A broken list must not refuse anything here either.
		c.canaries = sync.OnceFunc(func() {
			for _, l := range judge.lists {
				l.Canaries(ctx)
			}
		})
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

// all judges every file, and prints in order.
func (c *checker) all(ctx context.Context, std stdio, args []string) (int, error) {
	files, err := expand(args)
	if err != nil {
		return exitError, err
	}
	code := exitOK
	c.each(ctx, std, files, func(_ int, f *finding) {
		c.print(std.out, f, len(files) > 1)
		switch {
		case f.Error != "":
			code = exitError
		case len(files) == 1:
			code = exitFor(f.Action)
		}
	})
	return code, ctx.Err()
}

// each judges files in parallel and calls use in their order, from one
// goroutine. It begins nothing more once ctx has ended.
func (c *checker) each(ctx context.Context, std stdio, files []stored, use func(int, *finding)) {
	progress := newProgress(std.err, len(files))
	defer progress.done()
	ordered(len(files), runtime.GOMAXPROCS(0), func(k int) *finding {
		if ctx.Err() != nil {
			return nil
		}
		return c.file(ctx, std.in, files[k])
	}, func(k int, f *finding) {
		if f != nil {
			progress.step()
			use(k, f)
		}
	})
}

// ordered calls do for 0 to n-1, some at once, and use with each result in
// order. No more than a few results wait for an earlier one.
func ordered[T any](n, workers int, do func(int) T, use func(int, T)) {
	type slot chan T
	queue := make(chan slot, 8*workers)
	work := make(chan func(), workers)
	var wg sync.WaitGroup
	for range min(n, workers) {
		wg.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	wg.Go(func() {
		for k := range n {
			s := make(slot, 1)
			queue <- s
			work <- func() { s <- do(k) }
		}
		close(work)
	})
	for k := range n {
		use(k, <-<-queue)
	}
	wg.Wait()
}

func (c *checker) file(ctx context.Context, stdin io.Reader, s stored) *finding {
	data, err := s.read(stdin)
	var f *finding
	if err == nil {
		f, err = c.message(ctx, data, s.envelope)
	}
	if err != nil {
		f = newFinding()
		f.Error = err.Error()
	}
	f.File = s.name()
	return f
}

// read is the message as a client would send it.
func (s stored) read(stdin io.Reader) ([]byte, error) {
	var data []byte
	var err error
	switch {
	case s.path == "-":
		data, err = io.ReadAll(stdin)
	case s.part != nil:
		data, err = s.readSection()
	default:
		data, err = os.ReadFile(s.path)
	}
	return normalize(data), err
}

// normalize makes of a stored message what a client would send: no mbox
// separator, CRLF line ends where it was stored with LF, the last line complete.
// A bare CR stays, and so does a bare LF in a file with CRLF: they are for the
// verdict to refuse.
func normalize(data []byte) []byte {
	if bytes.HasPrefix(data, []byte("From ")) && !bytes.HasPrefix(bytes.TrimLeft(data[5:], " \t"), []byte(":")) {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	if first := bytes.IndexByte(data, '\n'); first >= 0 && !bytes.HasSuffix(data[:first], []byte("\r")) {
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\r\n")) {
		data = append(data[:len(data):len(data)], "\r\n"...)
	}
	return data
}

// message runs one transaction: what smtpd does, without a client.
// known is how the message came, where a file beside it tells.
func (c *checker) message(ctx context.Context, data []byte, known *envelopeJSON) (*finding, error) {
	now := time.Now()
	client, from := c.client, c.from
	if c.o.mailFrom == "" {
		from = returnPath(data)
	}
	if known != nil {
		known.apply(c.o, &client, &from)
		client.Own = c.set.Own(client.Addr)
	}
	env := &mail.Envelope{ID: mail.NewID(now), Arrived: now, Client: client, ReversePath: from}
	for _, r := range c.rcpts {
		env.Recipients = append(env.Recipients, mail.Recipient{Path: r})
	}
	switch {
	case int64(len(data)) > c.limit:
		return c.refused(env, smtpd.TooBig(env.ID)), nil
	case bare(data):
		return c.refused(env, smtpd.Bare(env.ID)), nil
	case bytes.IndexByte(data, 0) >= 0:
		return c.refused(env, smtpd.NUL(env.ID)), nil
	}
	if c.canaries != nil {
		c.canaries()
	}
	queries := &queryLog{}
	if c.o.explain {
		ctx = logQueries(ctx, queries)
	}
	conn := c.set.Pipeline.Connect(ctx, client)
	defer conn.Close()
	i := conn.Begin(ctx, client, env)
	defer i.Close()
	i.Receive(bytes.NewReader(data))
	if err := i.Write(data); errors.Is(err, filter.ErrHeaderTooLarge) {
		return c.refused(env, smtpd.HeaderTooLarge(env.ID)), nil
	} else if err != nil {
		return nil, err
	}
	j := i.Judge(mail.Bytes(data))
	f := c.finding(ctx, i, j, env)
	if c.o.explain {
		f.Steps = authSteps(j, queries)
	}
	return f, ctx.Err()
}

// bare reports a CR or LF that is not part of a CRLF.
func bare(data []byte) bool {
	ends := bytes.Count(data, []byte("\r\n"))
	return bytes.Count(data, []byte("\r")) != ends || bytes.Count(data, []byte("\n")) != ends
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
