package history

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/daykey"
	"mailweir/mail"
)

const secret = "canary@203.0.113.77"

// sealed writes n entries under keys, and gives dir, keys, file and ID.
func sealed(t *testing.T, n int) (dir string, keys *daykey.Keys, file string, id mail.ID) {
	t.Helper()
	dir = t.TempDir()
	keys, err := daykey.Open(filepath.Join(dir, "keys"), week)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(filepath.Join(dir, "history"), week, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	id = mail.NewID(now)
	for range n {
		l.Append(id, "verdict", now, map[string]string{"client": secret})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "history"), keys, filepath.Join(dir, "history", dayOf(now).file()), id
}

func TestSealed(t *testing.T) {
	dir, keys, file, id := sealed(t, 3)
	raw, err := os.ReadFile(file)
	if err != nil || bytes.Contains(raw, []byte("canary")) || bytes.Count(raw, []byte(`,"sealed":"`)) != 3 {
		t.Fatalf("%v\n%s", err, raw)
	}
	got, err := Find(dir, keys, id)
	if err != nil || len(got) != 3 || !bytes.Contains(got[0].Data, []byte(secret)) {
		t.Fatalf("%v, %v", got, err)
	}
	lines := 0
	err = EachLine(dir, keys, time.Now(), func(line []byte) {
		if bytes.HasPrefix(line, []byte(linePrefix+id.String()+`","kind":"verdict","at":"`)) && bytes.HasSuffix(line, []byte(`,"data":{"client":"`+secret+`"}}`)) {
			lines++
		}
	})
	if err != nil || lines != 3 {
		t.Errorf("%d lines, %v", lines, err)
	}
	if _, err := Find(dir, nil, id); err == nil {
		t.Error("no keys, no error")
	}
	other, err := daykey.Open(t.TempDir(), week)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Make(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(dir, other, id); err == nil || len(got) > 0 {
		t.Errorf("with another key: %v, %v", got, err)
	}
}

// TestSealedDamage: a line that was changed, or moved below another head, is
// named; one that is torn is skipped.
func TestSealedDamage(t *testing.T) {
	dir, keys, file, id := sealed(t, 1)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(raw), sealedData) + len(sealedData) + 20
	changed := bytes.Clone(raw)
	changed[i] = 'A' + (changed[i]-'A'+1)%26
	for _, c := range []struct {
		name string
		file []byte
		want int
		ok   bool
	}{
		{"whole", raw, 1, true},
		{"changed", changed, 0, false},
		{"another kind", bytes.Replace(raw, []byte("verdict"), []byte("release"), 1), 0, false},
		{"torn", append(bytes.Clone(raw[:i]), append([]byte("\n"), raw...)...), 1, true},
		{"torn in the head", append(bytes.Clone(raw[:50]), append([]byte("\n"), raw...)...), 1, true},
	} {
		if err := os.WriteFile(file, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Find(dir, keys, id); len(got) != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %d entries, %v", c.name, len(got), err)
		}
	}
}

// TestSealedLife: with each day's file its key goes, and who kept a copy of the
// file has nothing. An entry whose key cannot be made is not written in clear.
func TestSealedLife(t *testing.T) {
	dir := t.TempDir()
	keyDir := filepath.Join(dir, "keys")
	synctest.Test(t, func(t *testing.T) {
		keys, err := daykey.Open(keyDir, week)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Open(filepath.Join(dir, "history"), week, keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		first := time.Now()
		id := mail.NewID(first)
		var copied []byte
		for day := range 10 {
			l.Append(id, "verdict", time.Now(), secret)
			time.Sleep(24 * time.Hour)
			if day == 0 {
				if copied, err = os.ReadFile(filepath.Join(dir, "history", dayOf(first).file())); err != nil {
					t.Fatal(err)
				}
			}
		}
		if days, _ := keys.Days(); len(days) != 7 && len(days) != 8 {
			t.Errorf("%d keys", len(days))
		}
		if err := os.WriteFile(filepath.Join(dir, "history", dayOf(first).file()), copied, 0o600); err != nil {
			t.Fatal(err)
		}
		err = EachLine(filepath.Join(dir, "history"), keys, first, func(line []byte) { t.Errorf("%s", line) })
		if err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(keyDir); err != nil {
			t.Fatal(err)
		}
		l.Append(id, "verdict", time.Now(), secret)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if lost(l, lostWrite) != 1 {
			t.Errorf("%v entries were lost", lost(l, lostWrite))
		}
	})
	entries, _ := filepath.Glob(filepath.Join(dir, "history", "*"))
	for _, name := range entries {
		if raw, err := os.ReadFile(name); err != nil || bytes.Contains(raw, []byte("canary")) {
			t.Errorf("%s: %v\n%s", name, err, raw)
		}
	}
}
