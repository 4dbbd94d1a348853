package mailtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Engine is another mail filter at work: Rspamd, SpamAssassin's spamd, or
// OpenDKIM as a milter, with a few rules that tests can count with. It ends with
// the test.
type Engine struct {
	Socket string // as in "unix:" + Socket
	dir    string
	args   []string
	cmd    *exec.Cmd
	ended  chan struct{}
}

// engines are the kinds: the package of Debian's that has it, its command line
// and files; {} is the scratch folder.
var engines = map[string]struct {
	pkg   string
	args  []string
	files map[string]string
}{
	// Subjects that say six and ten score as much, clients of 192.0.2.10 one less.
	"rspamd": {"rspamd", []string{"rspamd", "-f", "-i", "-c", "{}/rspamd.conf"}, map[string]string{
		"rspamd.conf": `options { pidfile = "{}/pid"; tempdir = "{}"; url_tld = "{}/tlds"; filters = ""; disable_hyperscan = true;
  dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; } }
logging { type = "console"; level = "error"; }
modules { path = "{}/modules"; }
lua = "{}/test.lua";
actions { reject = 15; }
worker "normal" { bind_socket = "{}/sock mode=0666"; count = 1; }
`,
		"tlds": "example\norg\n", "modules/none": "",
		"test.lua": `local function says(word) return function(task) return (task:get_subject() or ''):find(word) ~= nil end end
rspamd_config:register_symbol({name='SAYS_SIX', score=6.0, callback=says('six')})
rspamd_config:register_symbol({name='SAYS_TEN', score=10.0, callback=says('ten')})
rspamd_config:register_symbol({name='FROM_TEST', score=-1.0, callback=function(task) return tostring(task:get_ip()) == '192.0.2.10' end})
`,
	}},
	"spamassassin": {"spamd", []string{"spamd", "--socketpath={}/sock", "--socketmode=0666", "-L", "-x", "-C", "{}/rules", "--siteconfigpath={}/site", "-H", "{}", "-m", "2", "--min-children=1", "-s", "stderr"}, map[string]string{
		"site/init.pre": "loadplugin Mail::SpamAssassin::Plugin::Check\n", "site/local.cf": "",
		"rules/test.cf": "header SAYS_SIX Subject =~ /six/\nscore SAYS_SIX 6.0\nheader SAYS_TEN Subject =~ /ten/\nscore SAYS_TEN 10.0\n",
	}},
	// Refuses what is not signed, but for clients of 192.0.2.10.
	"milter": {"opendkim", []string{"opendkim", "-f", "-x", "{}/opendkim.conf"}, map[string]string{
		"opendkim.conf": "Mode v\nSocket local:{}/sock\nOn-NoSignature reject\nPeerList {}/peers\nSyslog no\nUMask 000\nTestPublicKeys {}/keys\n",
		"peers":         "192.0.2.10\n", "keys": "",
	}},
}

// StartEngine runs an engine on a Unix socket in a scratch directory, or skips
// the test where it is not installed.
func StartEngine(t testing.TB, kind string) *Engine {
	t.Helper()
	k, ok := engines[kind]
	if !ok {
		t.Fatalf("mailtest: no engine %q", kind)
	}
	if _, err := exec.LookPath(k.args[0]); err != nil {
		SkipHarness(t, fmt.Sprintf("%s is not installed (package %s)", k.args[0], k.pkg))
	}
	e := &Engine{dir: scratch(t)}
	e.Socket = filepath.Join(e.dir, "sock")
	for _, arg := range k.args {
		e.args = append(e.args, strings.ReplaceAll(arg, "{}", e.dir))
	}
	for name, text := range k.files {
		path := filepath.Join(e.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "{}", e.dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(e.Kill)
	e.Start(t)
	return e
}

// engineStart is how long one may take until it listens, on a busy machine.
const engineStart = 60 * time.Second

// Start runs it, again after Kill, and waits until it listens.
func (e *Engine) Start(t testing.TB) {
	t.Helper()
	os.Remove(e.Socket)
	var output bytes.Buffer
	e.cmd = exec.Command(e.args[0], e.args[1:]...)
	e.cmd.Stdout, e.cmd.Stderr = &output, &output
	// A session of its own: it has children, which are stopped and killed with it.
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	e.cmd.WaitDelay = time.Second // a child may have left its group, with our pipe
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(e.cmd, e.ended)
	for deadline := time.Now().Add(engineStart); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", e.Socket); err == nil {
			conn.Close()
			return
		}
		select {
		case <-e.ended:
			t.Fatalf("%s ended at once:\n%s", e.args[0], output.String())
		default:
		}
	}
	e.Kill()
	t.Fatalf("%s did not listen in %v", e.args[0], engineStart)
}

func (e *Engine) signal(s syscall.Signal) { syscall.Kill(-e.cmd.Process.Pid, s) }

// Stop halts it with SIGSTOP: the kernel still accepts connections for it.
// Continue undoes that.
func (e *Engine) Stop() { e.signal(syscall.SIGSTOP) }

// Continue lets a stopped engine go on.
func (e *Engine) Continue() { e.signal(syscall.SIGCONT) }

// Kill ends it with SIGKILL, stopped or not.
func (e *Engine) Kill() {
	if e.cmd == nil || e.cmd.Process == nil {
		return
	}
	select {
	case <-e.ended:
		return // its number may be somebody else's by now
	default:
	}
	e.signal(syscall.SIGKILL)
	<-e.ended
}
