package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var known = Known{Checks: []string{"spf", "dkim", "dmarc", "dnsbl", "clamav", "rules"}}

func load(t *testing.T, path string) (*Config, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(filepath.ToSlash(path), data, known)
}

// TestBad reads configs with one fault each, and one with many: NAME.err is
// what the admin sees.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		_, err := load(t, file)
		var errs Errors
		if !errors.As(err, &errs) {
			t.Errorf("%s: %v", file, err)
			continue
		}
		got := errs.Error() + "\n"
		golden := strings.TrimSuffix(file, ".toml") + ".err"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
	}
}

// TestOneFaultEach: a file with one fault gives one line, or the reader looks
// for a second fault that is not there.
func TestOneFaultEach(t *testing.T) {
	several := map[string]int{"empty": 4, "many": 19, "checks": 2, "syntax": 3, "syntax-array": 2}
	files, _ := filepath.Glob("testdata/bad/*.err")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := max(1, several[strings.TrimSuffix(filepath.Base(file), ".err")])
		if n := bytes.Count(b, []byte("\n")); n != want {
			t.Errorf("%s has %d faults, want %d:\n%s", file, n, want, b)
		}
	}
}

// TestGood loads what is right, shows it, and loads what was shown: the same.
func TestGood(t *testing.T) {
	writeCertificate(t, "testdata/good")
	files, _ := filepath.Glob("testdata/good/*.toml")
	for _, file := range files {
		c, err := load(t, file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var shown, again bytes.Buffer
		if err := c.Show(&shown); err != nil {
			t.Fatal(err)
		}
		c2, err := Parse(file, shown.Bytes(), known)
		if err != nil {
			t.Errorf("%s: what Show wrote does not load: %v\n%s", file, err, shown.Bytes())
			continue
		}
		c2.Show(&again)
		if d := cmp.Diff(values(shown.String()), values(again.String())); d != "" {
			t.Errorf("%s: shown and loaded again it differs:\n%s", file, d)
		}
	}
}

// values drops the origins behind the values.
func values(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "  #")
		b.WriteString(strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

func TestEffective(t *testing.T) {
	c, err := load(t, "testdata/good/overrides.toml")
	if err != nil {
		t.Fatal(err)
	}
	a, ok := c.Effective("EXAMPLE.org")
	if !ok || a.Mode != "tag" || a.Redact != "all" || a.Score.Tag != 6 || a.Score.Reject != 15 || a.DMARC.Reject != "corroborated" ||
		a.ClamAV.OnError != "accept" || a.ClamAV.OnOversize != "tag" || a.DNS.OnError != "accept" {
		t.Errorf("example.org inherits %+v", a)
	}
	b, ok := c.Effective("Bücher.example")
	if !ok || b.Name != "xn--bcher-kva.example" || b.Mode != "enforce" || b.Redact != "none" || b.Score != (Score{6, 10, 15}) ||
		b.DMARC.Reject != "never" || b.ClamAV.OnError != "accept" || b.ClamAV.OnOversize != "reject" || b.DNS.OnError != "defer" {
		t.Errorf("bücher.example has %+v", b)
	}
	if f, _ := c.Effective("flat.example"); f.ClamAV != (ScannerPolicy{"quarantine", "quarantine"}) || f.DNS.OnError != "accept" {
		t.Errorf("flat.example has %+v", f)
	}
	if f, _ := c.Effective("both.example"); f.ClamAV != (ScannerPolicy{"quarantine", "tag"}) || f.DNS.OnError != "defer" {
		t.Errorf("both.example has %+v", f)
	}
	if _, ok := c.Effective("sub.example.org"); ok {
		t.Error("a subdomain is no domain of ours")
	}
	if got := c.Privacy.OwnNetworks[2].String(); got != "192.0.2.7/32" {
		t.Errorf("an address alone is %s", got)
	}
	if c.DataDir != "testdata/good/state" {
		t.Errorf("data_dir is %q: not relative to the file", c.DataDir)
	}
	if c.ClamAV.Address != "127.0.0.1:3310" {
		t.Errorf("scanner is %q", c.ClamAV.Address)
	}
	if d := c.DNS; d.TrustAD != "never" || !slices.Equal(d.Servers, []Server{"tls://192.0.2.53:853", "tls://[2001:db8::53]:8853#dns.example", "tls://192.0.2.54:853#192.0.2.54"}) {
		t.Errorf("dns is %+v", d)
	}
	if c.Limits.MessageSize != 10<<20 || c.Limits.SessionTimeout != 90*time.Minute {
		t.Errorf("limits are %+v", c.Limits)
	}
}

func TestShowOrigins(t *testing.T) {
	c, err := load(t, "testdata/good/overrides.toml")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	c.Show(&b)
	for _, line := range []string{
		`hostname = "mx.example.org"  # overrides.toml:1`,
		`tag = 6.0  # overrides.toml:4`,
		`tag = 6.0  # as score.tag: overrides.toml:4`,
		`reject = 15.0  # as score.reject: default`,
		`quarantine = 10.0  # overrides.toml:28`,
		`own_networks = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"]  # overrides.toml:5`,
		`# certificate is not set`,
		`expire = "5d"  # default`,
		`session_timeout = "1h30m"  # overrides.toml:61`,
	} {
		if !strings.Contains(b.String(), "\n"+line+"\n") && !strings.HasPrefix(b.String(), line) {
			t.Errorf("no line %s in\n%s", line, b.String())
		}
	}
}

func TestNotices(t *testing.T) {
	c, err := load(t, "testdata/good/minimal.toml")
	if err != nil {
		t.Fatal(err)
	}
	notices := strings.Join(c.Notices(), "\n")
	for _, word := range []string{"self-signed", "viruses", "DSNs", "example.org has neither", "own_networks"} {
		if !strings.Contains(notices, word) {
			t.Errorf("no notice of %s in\n%s", word, notices)
		}
	}
}

func TestOutboundMX(t *testing.T) {
	c, err := load(t, "testdata/good/mx.toml")
	if err != nil {
		t.Fatal(err)
	}
	r := c.Relay
	if r.Outbound != OutboundMX || r.OutboundConnections != 3 || r.OutboundFamily != "ipv4" || len(r.OutboundAllow) != 2 {
		t.Errorf("%+v", r)
	}
	notices := strings.Join(c.Notices(), "\n")
	if !strings.Contains(notices, "no valid certificate") || strings.Contains(notices, "held in the queue") {
		t.Errorf("%s", notices)
	}
}

func TestSkipFiles(t *testing.T) {
	for _, name := range []string{"domain-recipients-missing", "rules-missing", "tls-missing", "data-dir-file"} {
		path := "testdata/bad/" + name + ".toml"
		if _, err := Load(path, Known{SkipFiles: true}); err != nil {
			t.Errorf("%v", err)
		}
	}
	if _, err := Load("testdata/nowhere.toml", Known{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"2s": 2 * time.Second, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "5d": 120 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "0d": 0,
	} {
		d, err := ParseDuration(text)
		if err != nil || d != want {
			t.Errorf("ParseDuration(%q) = %v, %v", text, d, err)
		}
		if again, err := ParseDuration(FormatDuration(want)); err != nil || again != want {
			t.Errorf("FormatDuration(%v) = %q", want, FormatDuration(want))
		}
	}
	for _, text := range []string{"", "d", "2", "-1s", "+1s", "1.5d", "1d-1h", "99999d", "1w", "5d5d"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v", text, d)
		}
	}
}

// FuzzParse: no config makes the reader panic, and what it takes it can show
// and take again.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.toml", "testdata/good/*.toml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		known := Known{Checks: known.Checks, SkipFiles: true}
		c, err := Parse("x.toml", data, known)
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("%T", err)
			}
			return
		}
		var b bytes.Buffer
		c.Show(&b)
		if _, err := Parse("x.toml", b.Bytes(), known); err != nil {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
		for _, d := range c.Domains {
			if _, ok := c.Effective(string(d.Name)); !ok {
				t.Fatalf("no settings for %q", d.Name)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data, err := os.ReadFile("testdata/good/overrides.toml")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Parse("x.toml", data, Known{SkipFiles: true}); err != nil {
			b.Fatal(err)
		}
	}
}
