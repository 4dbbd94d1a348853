package torture

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailweir/internal/dns/dnstest"
	"mailweir/internal/mailtest"
)

var (
	torture = flag.Bool("torture", false, "run the large sizes of the harnesses")
	cycles  = flag.Int("cycles", 0, "run so many kills, power cuts, full disks, or passes over all points")
)

func sized(ci, large int) int {
	if *cycles > 0 {
		return *cycles
	}
	if *torture {
		return large
	}
	if mailtest.RaceDetector {
		return max(1, ci/25)
	}
	return ci
}

// inside marks the process that has namespaces of its own: of mounts, so that
// none outlives it, and of processes, for the same reason: a gateway under strace
// goes on when strace is killed, and holds all that it has inherited.
const inside = "MAILWEIR_TORTURE_NAMESPACE"

// noProc is the exit code of a process that may not mount /proc.
const noProc = 77

func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		// Nothing that is mounted from here on is seen outside.
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			fmt.Fprintln(os.Stderr, "torture: private mounts:", err)
			os.Exit(1)
		}
		if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			fmt.Fprintln(os.Stderr, "torture: /proc:", err)
			os.Exit(noProc)
		}
	} else if code, ok := runInside(); ok {
		os.Exit(code)
	}
	code := m.Run()
	removeBinaries()
	os.Exit(code)
}

// runInside runs this program again in namespaces of its own; false where that is
// not possible.
func runInside() (code int, ok bool) {
	if os.Geteuid() != 0 {
		return 0, false
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, false // a container whose root is none
	}
	cmd.Wait()
	code = cmd.ProcessState.ExitCode()
	return code, code != noProc
}

// lacks skips a test, which is a failure where all harnesses are required.
func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("MAILWEIR_REQUIRE_HARNESS") == "1" {
		t.Fatalf("MAILWEIR_REQUIRE_HARNESS is set, and there is no %s", what)
	}
	t.Skipf("skipped: no %s", what)
}

// needs names what a harness uses: "root" or a program.
func needs(t testing.TB, what ...string) {
	t.Helper()
	for _, w := range what {
		if w == "root" {
			if os.Getenv(inside) == "" {
				lacks(t, "root with mount namespaces")
			}
		} else if _, err := exec.LookPath(w); err != nil {
			lacks(t, w)
		}
	}
}

// binaries are the gateways that were built, by mutation; "" is the real one.
var binaries struct {
	sync.Mutex
	dir    string
	byName map[string]string
}

// gatewayBinary builds the gateway as it is released, or with one rule broken.
func gatewayBinary(t testing.TB, mutant string) string {
	t.Helper()
	b := &binaries
	b.Lock()
	defer b.Unlock()
	if path, ok := b.byName[mutant]; ok {
		return path
	}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "torture")
		if err != nil {
			t.Fatal(err)
		}
		b.dir, b.byName = dir, map[string]string{}
	}
	path := filepath.Join(b.dir, "gateway"+mutant)
	args := []string{"build", "-trimpath", "-o", path}
	if mutant != "" {
		args = append(args, "-tags", "torture_mutant_"+mutant)
	}
	cmd := exec.Command("go", append(args, "mailweir/cmd/gateway")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	b.byName[mutant] = path
	return path
}

func removeBinaries() {
	if binaries.dir != "" {
		os.RemoveAll(binaries.dir)
	}
}

// world is one spool with its gateway, clients and next hop.
type world struct {
	t      testing.TB
	binary string
	dir    string // config and log
	data   string
	listen string
	config string
	dns    *dnstest.Server
	hop    *nextHop
	book   *book
	log    *os.File
	traced bool // the gateway is to be looked at by strace
	sealed bool // the spool is encrypted
	turned int  // commands that changed keys and came to their end

	cmd   *exec.Cmd
	ended chan struct{}
}

// newWorld prepares a gateway whose state is in data.
func newWorld(t testing.TB, mutant string, sealed bool, data, minFree string) *world {
	t.Helper()
	w := &world{t: t, binary: gatewayBinary(t, mutant), dir: scratch(t), data: data, sealed: sealed, listen: freeAddress(t), book: newBook()}
	w.hop = newNextHop(t, w.book)
	var err error
	if w.dns, err = dnstest.New("test. 60 IN A 127.0.0.1\n"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.dns.Close)
	w.config = filepath.Join(w.dir, "gateway.toml")
	text := fmt.Sprintf(configText, data, w.listen, w.dns.Addr(), w.hop.address, minFree, w.keyLine())
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if w.log, err = os.Create(filepath.Join(w.dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			t.Logf("the end of the gateway's log:\n%s", w.tail())
		}
		w.log.Close()
	})
	return w
}

const configText = `hostname = "mx.example.org"
data_dir = %q
mode = "tag"
[[listener]]
address = %q
trusted_proxies = ["127.0.0.0/8"]
[dns]
servers = [%q]
[checks]
disabled = ["iprev", "spf", "dkim", "mime", "content", "dmarc", "rules", "dnsbl"]
[[domain]]
name = "example.org"
next_hops = [%q]
[queue]
retry_first = "1s"
retry_max = "2s"
min_free = %q
min_free_inodes = 16
%s
[log]
level = "error"
`

// freeAddress is a port outside the range of outgoing connections, so that it
// stays free while the gateway is down. No two calls return the same, and those
// of a harness that runs beside this one are others: each has a PID namespace of
// its own, so that the process ID tells nothing.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := 10000 + (firstPort+int(ports.Add(1)))%22000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

var (
	firstPort = rand.IntN(22000)
	ports     atomic.Int64
)

// scratch is t.TempDir without the name of the test: the path of a socket has 107
// octets at most, and spools lie where TMPDIR says.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// patience is for what takes milliseconds on an idle machine.
const patience = 30 * time.Second

// start runs the gateway, under a tracer when there are words before it, and
// waits until it listens. It reports whether it lived that long.
func (w *world) start(before ...string) bool {
	w.t.Helper()
	args := append(before[:len(before):len(before)], w.binary, "run", "--config", w.config)
	w.cmd = exec.Command(args[0], args[1:]...)
	w.cmd.Stderr = w.log
	if w.traced {
		// strace counts calls by thread: few threads, and every call has its
		// number.
		w.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	}
	// The group is for killing tracer and gateway at once.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	cmd, ended := w.cmd, make(chan struct{})
	w.ended = ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	for begin := time.Now(); time.Since(begin) < patience; {
		if nc, err := net.Dial("tcp", w.listen); err == nil {
			nc.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
	w.kill()
	w.t.Fatalf("the gateway does not listen\n%s", w.tail())
	return false
}

// mustStart is start for a gateway that has no reason to die.
func (w *world) mustStart() {
	w.t.Helper()
	if !w.start() {
		w.t.Fatalf("the gateway does not start\n%s", w.tail())
	}
}

func (w *world) kill() {
	if w.cmd == nil {
		return
	}
	syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
	<-w.ended
	w.cmd = nil
}

// stop ends the gateway in order.
func (w *world) stop() {
	w.t.Helper()
	syscall.Kill(-w.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-w.ended:
		w.cmd = nil
	case <-time.After(patience):
		w.kill()
		w.t.Fatal("the gateway does not stop")
	}
}

func (w *world) tail() string {
	text, _ := os.ReadFile(w.log.Name())
	return string(text[max(0, len(text)-4000):])
}

// queue runs a queue command and returns its output.
func (w *world) queue(args ...string) []byte {
	w.t.Helper()
	cmd := exec.Command(w.binary, append([]string{"queue", args[0], "--config", w.config}, args[1:]...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("queue %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// run is a program of the system that must succeed.
func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
