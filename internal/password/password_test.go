package password

import (
	"context"
	"encoding/base64"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"
)

// cheap is a hash at the lowest cost.
const cheap = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$HASH"

func cheapHash(t testing.TB, password string) string {
	t.Helper()
	h := &hash{memory: 8, time: 1, lanes: 1, salt: []byte("saltsaltsalt")}
	return strings.Replace(cheap, "HASH", keyOf(h, password), 1)
}

func openFile(t *testing.T, lines ...string) *File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(name, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHash(t *testing.T) {
	s, err := Hash("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	h, err := parse(s)
	if err != nil || !h.is("correct horse") || h.is("correct horsf") {
		t.Errorf("%s: %v", s, err)
	}
	other, _ := Hash("correct horse")
	if other == s {
		t.Error("two hashes have one salt")
	}
	for _, bad := range []string{"", strings.Repeat("x", 256), "a\nb", "a\x00b"} {
		if _, err := Hash(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestVector is of the reference implementation:
// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -e
func TestVector(t *testing.T) {
	h, err := parse("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil || !h.is("password") {
		t.Errorf("%v", err)
	}
}

func TestParseFile(t *testing.T) {
	good := cheapHash(t, "secret")
	for line, want := range map[string]string{
		"anna:" + good:              "",
		"# nobody":                  "",
		"anna":                      "USER:HASH",
		":" + good:                  "USER:HASH",
		"anna:secret":               "no $argon2id$",
		"anna:$argon2i" + good[9:]:  "no $argon2id$",
		"a:" + good + "\na:" + good: "twice",
		"a:" + strings.Replace(good, "m=8,", "m=999999999,", 1): "out of bounds",
		"a:" + strings.Replace(good, "t=1,", "t=0,", 1):         "out of bounds",
		"a:" + strings.Replace(good, "p=1", "p=255", 1):         "out of bounds",
		"a:" + strings.Replace(good, "v=19", "v=16", 1):         "another version",
		"a:" + good + "!": "base64",
	} {
		_, err := parseFile("f", []byte(line+"\n"))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestGuard: guessing stops, for the network and for the user, and who has sent
// before is heard all the same.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFile(t, "anna:"+cheapHash(t, "secret"))
		g := NewGuard()
		ctx := context.Background()
		home := netip.MustParseAddr("192.0.2.7")
		check := func(from netip.Addr, user, password string, want Result) {
			t.Helper()
			if got := g.Check(ctx, f, from, user, password); got != want {
				t.Fatalf("%s, %s: %v, not %v", from, user, got, want)
			}
		}
		check(home, "anna", "secret", Right)
		check(home, "anna", "", Wrong)
		check(home, "nobody", "secret", Wrong)
		guesser := netip.MustParseAddr("198.51.100.1")
		for range PerNetwork {
			check(guesser, "anna", "guess", Wrong)
		}
		check(guesser.Next(), "anna", "secret", Throttled) // of the same /24
		for k := range PerUser - PerNetwork {
			check(netip.AddrFrom4([4]byte{10, byte(k), 0, 1}), "anna", "guess", Wrong)
		}
		check(netip.MustParseAddr("203.0.113.9"), "anna", "secret", Throttled)
		check(home, "anna", "secret", Right)
		time.Sleep(Window)
		check(guesser, "anna", "secret", Right)
	})
}

// TestReread: a changed file counts; a broken one does not.
func TestReread(t *testing.T) {
	f := openFile(t, "anna:"+cheapHash(t, "secret"))
	var reported error
	f.report = func(err error) { reported = err }
	change := func(content string) {
		if err := os.WriteFile(f.name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f.checked = time.Time{}
	}
	change("bert:" + cheapHash(t, "other") + "\n")
	if f.find("anna") != nil || f.find("bert") == nil {
		t.Error("the changed file was not read")
	}
	change("bert\n")
	if f.find("bert") == nil || reported == nil {
		t.Errorf("a broken file: %v", reported)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := parse(s); err == nil && (h.memory > MaxMemory || h.time > maxTime || len(h.key) < 16) {
			t.Errorf("%q: %+v", s, h)
		}
	})
}

func keyOf(h *hash, password string) string {
	return base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, keySize))
}
