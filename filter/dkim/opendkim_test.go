package dkim

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// opendkim verifies messages by the filter's own test mode. That puts a space
// behind the colon of every field, so that only relaxed headers can be shown to
// it, and adds no line end to a last line that has none.
type opendkim struct {
	t    *testing.T
	dir  string
	conf string
}

func startOpendkim(t *testing.T, zone map[string]string) *opendkim {
	const program = "/usr/sbin/opendkim"
	if _, err := os.Stat(program); err != nil {
		t.Skip("the oracle is not there: needs the Debian package opendkim")
	}
	o := &opendkim{t: t, dir: t.TempDir()}
	var keys strings.Builder
	for name, txt := range zone {
		fmt.Fprintln(&keys, name, txt)
	}
	o.conf = o.write("conf", "Mode v\nTestPublicKeys "+o.write("keys", keys.String())+"\n")
	return o
}

func (o *opendkim) write(name, text string) string {
	file := filepath.Join(o.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return file
}

var opendkimResult = regexp.MustCompile(`dkim=(\w+)(?: reason="[^"]*")? \(\d+-bit key\)`)

// verify tells of each signature whether it passes. It is nil for a message
// that opendkim does not take, and may lack the signatures that have no key.
func (o *opendkim) verify(m []byte) (pass []bool) {
	out, _ := exec.Command("/usr/sbin/opendkim", "-x", o.conf, "-vvv", "-t", o.write("message", string(m))).CombinedOutput()
	for _, r := range opendkimResult.FindAllSubmatch(out, -1) {
		pass = append(pass, string(r[1]) == "pass")
	}
	return pass
}

// TestAgainstOpendkim lets opendkim verify what go-msgauth signs, whole and
// broken.
func TestAgainstOpendkim(t *testing.T) {
	keys := newTestKeys(t)
	oracle := startOpendkim(t, keys.published(t))
	n := 600
	if testing.Short() {
		n = 100
	}
	compared, passes := 0, 0
	for seed := range uint64(n) {
		g := newGenerator(1<<34 + seed)
		g.tidy = true
		// It takes no message without a Date.
		m := append([]byte("Date: Sun, 29 Nov 2026 06:00:00 +0000\r\n"), g.message()...)
		m = keys.sign(t, m, func(o *msgauth.SignOptions) { g.options()(o); o.HeaderCanonicalization = "relaxed" })
		if m = g.mutate(m); !bytes.HasSuffix(m, []byte("\r\n")) {
			m = append(m, "\r\n"...)
		}
		results := Verify(context.Background(), keys.resolver(), m, time.Now())
		theirs := oracle.verify(m)
		if len(results) != 1 || len(theirs) != 1 {
			continue
		}
		compared++
		r := results[0]
		if r.Status == Pass {
			passes++
		}
		if (r.Status == Pass) != theirs[0] && r.Reason != "l= does not cover the whole body" {
			t.Fatalf("seed %d: got %+v, opendkim says pass=%v\n%q", seed, r, theirs[0], m)
		}
	}
	if compared < n/2 || passes < compared/8 || passes > compared*15/16 {
		t.Errorf("of %d messages %d were compared, and %d passed", n, compared, passes)
	}
	t.Logf("%d of %d compared, %d pass", compared, n, passes)
}
