package mailtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Postfix is a private instance, with a configuration, a queue and a log of its
// own. It takes mail for mx.test and relays it to another server.
type Postfix struct {
	Addr string // 127.0.0.1 and a free port
	conf string
	log  string
}

// masterPath has what a package installs as a sample of master.cf.
const masterPath = "/usr/share/postfix/master.cf.dist"

// StartPostfix starts an instance that relays to relayTo, host:port of an
// address, and stops it with the test. main are further lines of main.cf. The
// test is skipped where Postfix is not installed or may not be started.
func StartPostfix(t testing.TB, relayTo string, main ...string) *Postfix {
	t.Helper()
	command, err := exec.LookPath("postfix")
	if err != nil {
		if command, err = exec.LookPath("/usr/sbin/postfix"); err != nil {
			SkipHarness(t, "postfix is not installed")
		}
	}
	if os.Getuid() != 0 {
		SkipHarness(t, "postfix starts as root only")
	}
	p := &Postfix{Addr: freeAddress(t)}
	p.write(t, relayTo, main)
	t.Cleanup(func() { exec.Command(command, "-c", p.conf, "abort").Run() })
	if out, err := exec.Command(command, "-c", p.conf, "start").CombinedOutput(); err != nil {
		t.Fatalf("postfix: %v\n%s\n%s", err, out, p.Log())
	}
	p.wait(t)
	return p
}

// freeAddress is one where nothing listens now.
func freeAddress(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// write makes the folders and files of the instance. They are outside of
// t.TempDir, which Postfix's own user may not enter.
func (p *Postfix) write(t testing.TB, relayTo string, main []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "postfix")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p.conf, p.log = filepath.Join(dir, "conf"), filepath.Join(dir, "log")
	data := filepath.Join(dir, "data")
	for _, d := range []string{p.conf, data, filepath.Join(dir, "spool")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	owner(t, data, "postfix")
	host, port, err := net.SplitHostPort(relayTo)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
myhostname = postfix.mx.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = reject_unauth_destination
default_transport = error:only mx.test is relayed
relay_domains = mx.test
relay_transport = smtp:[%[2]s]:%[3]s
`, dir, host, port)
	for _, line := range main {
		fmt.Fprintln(&b, line)
	}
	writeFile(t, filepath.Join(p.conf, "main.cf"), b.Bytes())
	writeFile(t, filepath.Join(p.conf, "master.cf"), p.master(t))
}

var (
	smtpService = regexp.MustCompile(`(?m)^smtp +inet .*$`)
	chrooted    = regexp.MustCompile(`(?m)^([a-z-]+ +unix +[-n] +[-n?] +)y `)
	postlog     = regexp.MustCompile(`(?m)^postlog `)
)

// master is the sample with our port and nothing in a chroot.
func (p *Postfix) master(t testing.TB) []byte {
	master, err := os.ReadFile(masterPath)
	if err != nil {
		SkipHarness(t, "no sample of Postfix's master.cf: "+err.Error())
	}
	master = smtpService.ReplaceAll(master, []byte(p.Addr+" inet n - n - - smtpd"))
	master = chrooted.ReplaceAll(master, []byte("${1}n "))
	if !postlog.Match(master) {
		master = append(master, "postlog unix-dgram n - n - 1 postlogd\n"...)
	}
	return master
}

func owner(t testing.TB, path, name string) {
	u, err := user.Lookup(name)
	if err != nil {
		SkipHarness(t, "no user "+name)
	}
	uid, _ := strconv.Atoi(u.Uid)
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// wait returns when the instance answers.
func (p *Postfix) wait(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; {
		nc, err := net.DialTimeout("tcp", p.Addr, time.Second)
		if err == nil {
			nc.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("postfix does not answer: %v\n%s", err, p.Log())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Log is what the instance has logged until now.
func (p *Postfix) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
