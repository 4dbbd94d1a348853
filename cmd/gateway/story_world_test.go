package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"mailweir/internal/dns/dnstest"
	"mailweir/internal/mailtest"
)

// world is the gateway of one test and everything around it, on loopback and
// in one scratch folder.
type world struct {
	t      testing.TB
	dir    string
	binary string
	names  map[string]string // what templates and scripts call things

	folder string             // of the story; "" without one
	key    ed25519.PrivateKey // {{.DKIM}} is its record
	gw     *process
	sinks  map[string]*sink // by name: Sink, Sink2
	dns    *dnstest.Server
	clamd  *mailtest.Clamd

	engines map[string]*mailtest.Engine // by kind
}

// newWorld starts the sinks and the DNS server. The gateway starts later, when
// its config is there.
func newWorld(t testing.TB, dir string) *world {
	w := &world{t: t, dir: dir, binary: builtBinary(t), sinks: map[string]*sink{}, engines: map[string]*mailtest.Engine{}}
	w.names = map[string]string{"Dir": dir, "Clamd": "", "Rspamd": "", "Spamassassin": "", "Milter": "", "Date": time.Now().Format(time.RFC1123Z)}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatalf("key: %v", err)
	}
	w.key = private
	w.names["DKIM"] = "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	for _, name := range []string{"Listen", "Listen2", "Listen3", "Metrics", "Dead"} {
		w.names[name] = freeAddress(t)
	}
	for _, name := range []string{"Sink", "Sink2"} {
		s := &sink{t: t, addr: freeAddress(t), replies: map[string]string{}}
		w.sinks[name], w.names[name] = s, s.addr
		s.start()
		t.Cleanup(s.end)
	}
	if w.dns, err = dnstest.New(""); err != nil {
		t.Fatalf("dns: %v", err)
	}
	t.Cleanup(w.dns.Close)
	w.names["DNS"] = w.dns.Addr()
	return w
}

// freeAddress is a port where nothing listens, outside the range that the
// kernel takes the ports of outgoing connections from, so that it stays free.
func freeAddress(t testing.TB) string {
	t.Helper()
	taken.Lock()
	defer taken.Unlock()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 11000+mathrand.IntN(20000))
		if taken.ports[addr] {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		taken.ports[addr] = true
		return addr
	}
	t.Fatal("no free port")
	return ""
}

var taken = struct {
	sync.Mutex
	ports map[string]bool
}{ports: map[string]bool{}}

// copyFolder fills in the templates of a folder. A zone.txt goes to the DNS
// server, too.
func (w *world) copyFolder(folder string) error {
	w.folder = folder
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || e.Name() == "story.txt" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		filled, err := w.fill(e.Name(), string(text))
		if err != nil {
			return err
		}
		if err := os.WriteFile(w.path(e.Name()), filled, 0o600); err != nil {
			return err
		}
		if e.Name() == "zone.txt" {
			err = w.dns.Replace(string(filled))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refill copies the folder again, with what is known only now.
func (w *world) refill() error { return w.copyFolder(w.folder) }

// fill executes a template with the names of this world.
func (w *world) fill(name, text string) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{
		"repeat": strings.Repeat,
		// In halves, or scanners would flag this very file.
		"gtube":   func() string { return "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-" + "UBE-TEST-EMAIL*C.34X" },
		"eicar":   func() string { return string(mailtest.EICAR()) },
		"eicar64": func() string { return base64.StdEncoding.EncodeToString(mailtest.EICAR()) },
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, w.names)
	return b.Bytes(), err
}

func (w *world) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(w.dir, name)
}

// message reads a file as a client would send it.
func (w *world) message(name string) []byte {
	data, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return normalize(data)
}

// write makes a file of a template, for tests without a folder.
func (w *world) write(name, text string) string {
	w.t.Helper()
	filled, err := w.fill(name, text)
	if err == nil {
		err = os.WriteFile(w.path(name), filled, 0o600)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	return w.path(name)
}

// start runs the gateway on gateway.toml and waits until it is ready.
func (w *world) start() {
	w.t.Helper()
	w.startWith(nil)
}

// startWith is start with extra files, as systemd passes sockets.
func (w *world) startWith(files []*os.File) {
	w.t.Helper()
	w.gw = startProcess(w.t, w.binary, w.path("gateway.toml"), w.names["Metrics"], files)
}

// startClamd starts the real clamd, or skips the test where there is none.
func (w *world) startClamd(conf ...string) {
	w.clamd = mailtest.StartClamd(w.t, conf...)
	w.names["Clamd"] = w.clamd.Socket
}
