package mailtest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RequireHarness is the environment variable that makes a missing harness a
// failure instead of a skipped test: set to "1" where everything is installed.
const RequireHarness = "MAILWEIR_REQUIRE_HARNESS"

// SkipHarness ends the test because a program that it needs is missing.
func SkipHarness(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(RequireHarness) == "1" {
		t.Fatalf("%s (and %s=1 makes that a failure)", why, RequireHarness)
	}
	t.Skip(why)
}

// The EICAR test file, in halves: in one piece it would make every scanner that
// sees this repository cry out.
const (
	eicarHead = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-`
	eicarTail = `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
)

// EICAR is the test file that scanners agree to call a virus.
func EICAR() []byte { return []byte(eicarHead + eicarTail) }

// EICARSignature is the name that StartClamd's database has for it, as clamd
// reports it: names from a database of one's own get ".UNOFFICIAL".
const EICARSignature = "Mailweir.Test.Eicar.UNOFFICIAL"

const (
	clamdStart = 60 * time.Second
	clamdPath  = "/usr/sbin/clamd"
)

// Clamd is a running clamd(8) with a database that knows only EICAR. It ends
// with the test.
type Clamd struct {
	Socket string // as in "unix:" + Socket
	dir    string
	offset string // of EICAR in what is scanned; "*" is any
	cmd    *exec.Cmd
	ended  chan struct{} // closed once the process was waited for
}

// StartStrictClamd is StartClamd with a database that knows EICAR only where a
// file begins with it, as the databases of real life do.
func StartStrictClamd(t testing.TB, conf ...string) *Clamd {
	t.Helper()
	return startClamd(t, "0", conf)
}

// StartClamd runs the real clamd on a Unix socket in a scratch directory. Each
// line of conf goes into its clamd.conf, such as "StreamMaxLength 1M".
func StartClamd(t testing.TB, conf ...string) *Clamd {
	t.Helper()
	return startClamd(t, "*", conf)
}

func startClamd(t testing.TB, offset string, conf []string) *Clamd {
	t.Helper()
	path, err := exec.LookPath("clamd")
	if err != nil {
		path = clamdPath
	}
	if _, err := os.Stat(path); err != nil {
		SkipHarness(t, "clamd is not installed (package clamav-daemon)")
	}
	c := &Clamd{dir: scratch(t), offset: offset}
	c.Socket = filepath.Join(c.dir, "sock")
	c.writeFiles(t, conf)
	t.Cleanup(c.Kill)
	c.Start(t)
	return c
}

// scratch is short, because the path of a Unix socket may have 107 octets, and
// open to clamd's own user.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "clamd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (c *Clamd) writeFiles(t testing.TB, conf []string) {
	t.Helper()
	db := filepath.Join(c.dir, "db")
	lines := []string{
		"DatabaseDirectory " + db,
		"TemporaryDirectory " + c.dir,
		"LocalSocket " + c.Socket,
		"LocalSocketMode 666",
		"User " + currentUser(t),
		"LogFile " + filepath.Join(c.dir, "clamd.log"),
		"Foreground true",
		"SelfCheck 0",
	}
	files := map[string]string{
		filepath.Join(db, "mailweir.ndb"):  c.signature(),
		filepath.Join(c.dir, "clamd.conf"): strings.Join(append(lines, conf...), "\n") + "\n",
	}
	if err := os.Mkdir(db, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// signature is one line of an extended signature database: name, any file type
// (0), offset, the bytes in hex.
func (c *Clamd) signature() string {
	name := strings.TrimSuffix(EICARSignature, ".UNOFFICIAL")
	return fmt.Sprintf("%s:0:%s:%s\n", name, c.offset, hex.EncodeToString(EICAR()))
}

func currentUser(t testing.TB) string {
	t.Helper()
	u, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// Start runs it, again after Kill, and waits until it answers.
func (c *Clamd) Start(t testing.TB) {
	t.Helper()
	os.Remove(c.Socket)
	path, err := exec.LookPath("clamd")
	if err != nil {
		path = clamdPath
	}
	var output bytes.Buffer
	c.cmd = exec.Command(path, "-c", filepath.Join(c.dir, "clamd.conf"))
	c.cmd.Stdout, c.cmd.Stderr = &output, &output
	// Its own session, and dead when the test binary dies.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(c.cmd, c.ended)
	if err := c.answers(clamdStart); err != nil {
		c.Kill()
		t.Fatalf("clamd: %v\n%s", err, output.String())
	}
}

// answers waits for the reply to a PING.
func (c *Clamd) answers(timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for time.Now().Before(deadline) {
		select {
		case <-c.ended:
			return errors.New("ended at once")
		case <-time.After(20 * time.Millisecond):
		}
		if c.ping() {
			return nil
		}
	}
	return fmt.Errorf("did not answer in %v", timeout)
}

func (c *Clamd) ping() bool {
	conn, err := net.Dial("unix", c.Socket)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("zPING\x00")); err != nil {
		return false
	}
	var reply [8]byte
	n, _ := conn.Read(reply[:])
	return string(reply[:n]) == "PONG\x00"
}

// Stop halts the process with SIGSTOP: the kernel still accepts connections for
// it. Continue undoes that.
func (c *Clamd) Stop() { c.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue lets a stopped process go on.
func (c *Clamd) Continue() { c.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends the process with SIGKILL, stopped or not.
func (c *Clamd) Kill() {
	if c.cmd == nil || c.cmd.Process == nil {
		return
	}
	c.cmd.Process.Kill()
	<-c.ended
}
