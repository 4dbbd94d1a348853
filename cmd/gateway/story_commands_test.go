package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/rogpeppe/go-internal/testscript"

	"mailweir/internal/mailtest"
)

// storyCommands are what story.txt can say beside testscript's own commands:
//
//	start                   run the gateway on gateway.toml, until it is ready
//	shutdown                SIGTERM: sound, in order, exit status 0
//	crash                   SIGKILL
//	[!] reload              SIGHUP, and it is (not) taken
//	zone FILE               the DNS server answers from FILE from now on
//	certificate NAME        tls.crt and tls.key for NAME, in place of earlier ones
//	clamd start [CONF...]   clamd, before the gateway; also kill, restart, stop (SIGSTOP), cont
//
//	engine KIND start       Rspamd, SpamAssassin or a milter, before the gateway; also
//	                        kill, restart, stop (SIGSTOP), cont; KIND is rspamd,
//	                        spamassassin or milter, {{.Rspamd}} and so on its socket
//
//	sign FILE DOMAIN FIELD...
//	                        DKIM-signs it, by selector sel, with the key {{.DKIM}}
//	send FILE [KEY=VALUE...] REPLY
//	                        a message in a session of its own; keys: client (an
//	                        address) or xclient, helo, from, to (comma-separated),
//	                        listen, mail, rcpt (parameters)
//	send-until FILE [within=TIME] ...
//	                        the same, again and again until the reply fits
//	dialogue FILE [LISTEN]  see client.dialogue
//
//	sink [NAME] N           it has got N messages in all, exactly
//	got [NAME] N            stdout: the Nth: envelope, then text, fields unfolded
//	body [NAME] N FILE      its body is that of FILE, octet for octet
//	whole [NAME] N FILE     it ends in all of FILE: ours is only on top
//	wholes FILE...          whole of all messages of Sink, in any order
//	backdate                today's history becomes that of $YESTERDAY; the gateway
//	                        must not run
//	report [NAME] N         stdout: its parts, the compressed one unpacked
//	dsn [NAME] N            stdout: its parts, as a report (RFC 3464)
//	sink-reply [NAME] WHEN REPLY
//	                        "RCPT bob@" "550 5.1.1 No"; REPLY "" is its own; also
//	                        hang, drop
//	sink-stop, sink-start [NAME]
//
//	eventually PATTERN PROGRAM...  run it until its stdout matches
//	status N PROGRAM...     run it; the exit status is N
//	take NAME PATTERN       $NAME is what the pattern's group matches in stdout
//	keys KEYS [PATH]        each line of stdout is JSON with exactly these keys
//	metric SERIES VALUE     it comes to the value; also ">=VALUE"
//	ready PATTERN           what /readyz comes to say, with its code
//	[!] log PATTERN         a line of the gateway's log, [not] there
//
// NAME is Sink (the default) or Sink2. After send and dialogue $ID is the trace
// ID that the last reply named.
var storyCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"start":       plain(func(w *world, _ []string) error { w.start(); return nil }),
	"shutdown":    plain(func(w *world, _ []string) error { return w.gw.stop() }),
	"crash":       plain(func(w *world, _ []string) error { w.gw.kill(); return nil }),
	"reload":      cmdReload,
	"zone":        plain(cmdZone),
	"certificate": plain(cmdCertificate),
	"clamd":       plain(cmdClamd),
	"engine":      plain(cmdEngine),
	"sign":        plain(cmdSign),
	"send":        cmdSend,
	"send-until":  cmdSendUntil,
	"dialogue":    cmdDialogue,
	"sink":        plain(cmdSink),
	"got":         cmdGot,
	"dsn":         cmdDSN,
	"report":      cmdReport,
	"backdate":    cmdBackdate,
	"body":        plain(cmdBody),
	"whole":       plain(cmdWhole),
	"wholes":      plain(cmdWholes),
	"sink-reply":  plain(cmdSinkReply),
	"sink-stop":   plain(func(w *world, a []string) error { s, _ := w.sink(a); s.stop(); return nil }),
	"sink-start":  plain(func(w *world, a []string) error { s, _ := w.sink(a); s.start(); return nil }),
	"eventually":  cmdEventually,
	"status":      cmdStatus,
	"keys":        cmdKeys,
	"take":        cmdTake,
	"metric":      plain(cmdMetric),
	"ready":       plain(cmdReady),
	"log":         cmdLog,
}

// plain makes a command of a function that cannot be negated.
func plain(fn func(w *world, args []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command cannot be negated")
		}
		ts.Check(fn(worldOf(ts), args))
	}
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// envName is a template's name as a script's variable: DataDir is $DATADIR.
func envName(name string) string { return strings.ToUpper(name) }

func cmdReload(ts *testscript.TestScript, neg bool, _ []string) {
	gw := worldOf(ts).gw
	from := len(gw.lines())
	gw.signal(syscall.SIGHUP)
	ts.Check(gw.waitLog(`"msg":"(reloaded|reload failed)`, from))
	failed := false
	for _, line := range gw.lines()[from:] {
		failed = failed || strings.Contains(line, `"msg":"reload failed`)
	}
	if failed != neg {
		ts.Fatalf("the reload was taken: %v", !failed)
	}
}

func cmdZone(w *world, args []string) error {
	text, err := os.ReadFile(w.path(args[0]))
	if err != nil {
		return err
	}
	return w.dns.Replace(string(text))
}

// cmdCertificate renames the files into place, as those who renew them do.
func cmdCertificate(w *world, args []string) error {
	conf, _ := mailtest.Certificate(w.t, args[0])
	key, err := x509.MarshalPKCS8PrivateKey(conf.Certificates[0].PrivateKey)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: conf.Certificates[0].Certificate[0]},
		"tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		err = os.WriteFile(w.path(name+".new"), pem.EncodeToMemory(block), 0o600)
		if err == nil {
			err = os.Rename(w.path(name+".new"), w.path(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cmdClamd(w *world, args []string) error {
	switch args[0] {
	case "start":
		w.startClamd(args[1:]...)
		return w.refill()
	case "restart":
		w.clamd.Start(w.t)
	case "kill":
		w.clamd.Kill()
	case "stop":
		w.clamd.Stop()
	case "cont":
		w.clamd.Continue()
	default:
		return fmt.Errorf("clamd %s: no such verb", args[0])
	}
	return nil
}

func cmdEngine(w *world, args []string) error {
	kind, verb := args[0], args[1]
	e := w.engines[kind]
	switch verb {
	case "start":
		e = mailtest.StartEngine(w.t, kind)
		w.engines[kind], w.names[strings.ToUpper(kind[:1])+kind[1:]] = e, e.Socket
		return w.refill()
	case "restart":
		e.Start(w.t)
	case "kill":
		e.Kill()
	case "stop":
		e.Stop()
	case "cont":
		e.Continue()
	default:
		return fmt.Errorf("engine %s %s: no such verb", kind, verb)
	}
	return nil
}

func cmdSign(w *world, args []string) error {
	var b bytes.Buffer
	err := dkim.Sign(&b, bytes.NewReader(w.message(args[0])), &dkim.SignOptions{
		Domain: args[1], Selector: "sel", Signer: w.key, HeaderKeys: args[2:],
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(w.path(args[0]), b.Bytes(), 0o600)
}

func cmdSend(ts *testscript.TestScript, neg bool, args []string) {
	reply, fits := sendOnce(ts, args)
	if fits == neg {
		ts.Fatalf("reply %q, want %q", reply, args[len(args)-1])
	}
}

// cmdSendUntil is for what takes effect a moment later: a file that is read
// again, a scanner that is back.
func cmdSendUntil(ts *testscript.TestScript, _ bool, args []string) {
	limit := patience
	if text, ok := strings.CutPrefix(args[1], "within="); ok {
		var err error
		limit, err = time.ParseDuration(text)
		ts.Check(err)
		args = slices.Delete(args, 1, 2)
	}
	var reply string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var fits bool
		if reply, fits = sendOnce(ts, args); fits {
			return
		}
	}
	ts.Fatalf("the last reply was %q, want %q", reply, args[len(args)-1])
}

func sendOnce(ts *testscript.TestScript, args []string) (reply string, fits bool) {
	w := worldOf(ts)
	l := &letter{listen: "Listen", helo: "mail.sender.example", from: "alice@sender.example", to: []string{"bob@example.org"}}
	l.msg = w.message(args[0])
	for _, arg := range args[1 : len(args)-1] {
		if !l.set(arg) {
			ts.Fatalf("send: what is %q?", arg)
		}
	}
	reply, id, err := w.post(l)
	ts.Check(err)
	ts.Setenv("ID", id)
	fmt.Fprintln(ts.Stdout(), reply)
	return reply, matches(args[len(args)-1], reply)
}

func (l *letter) set(arg string) bool {
	key, value, ok := strings.Cut(arg, "=")
	switch key {
	case "client":
		l.xclient = "ADDR=" + value
		if strings.Contains(value, ":") {
			l.xclient = "ADDR=IPV6:" + value
		}
	case "xclient":
		l.xclient = value
	case "helo":
		l.helo = value
	case "from":
		l.from = value
	case "to":
		l.to = strings.Split(value, ",")
	case "listen":
		l.listen = value
	case "mail":
		l.mailParams = " " + value
	case "rcpt":
		l.rcptParams = " " + value
	default:
		return false
	}
	return ok
}

func cmdDialogue(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	listen := "Listen"
	if len(args) > 1 {
		listen = args[1]
	}
	c, err := w.dial(listen)
	ts.Check(err)
	defer c.close()
	ts.Check(c.dialogue(args[0]))
	ts.Setenv("ID", c.id)
	for _, reply := range c.all {
		fmt.Fprintln(ts.Stdout(), reply)
	}
}

func cmdSinkReply(w *world, args []string) error {
	s, args := w.sink(args)
	if len(args) != 2 {
		return fmt.Errorf("usage: sink-reply [NAME] WHEN REPLY")
	}
	s.reply(args[0], args[1])
	return nil
}

// sink takes the name of a sink off the arguments, if there is one.
func (w *world) sink(args []string) (*sink, []string) {
	if len(args) > 0 && w.sinks[args[0]] != nil {
		return w.sinks[args[0]], args[1:]
	}
	return w.sinks["Sink"], args
}

func cmdSink(w *world, args []string) error {
	s, args := w.sink(args)
	n, err := strconv.Atoi(args[0])
	if err == nil {
		_, err = s.wait(n, patience)
	}
	return err
}
