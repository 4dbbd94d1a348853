package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"mailweir/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const week = 7 * 24 * time.Hour

func open(t testing.TB, dir string, logger *slog.Logger) *Log {
	t.Helper()
	l, err := Open(dir, week, nil, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func find(t testing.TB, dir string, id mail.ID) []Entry {
	t.Helper()
	entries, err := Find(dir, nil, id)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// brief is entries as "kind=data", for comparison.
func brief(entries []Entry) string {
	var list []string
	for _, e := range entries {
		list = append(list, e.Kind+"="+string(e.Data))
	}
	return strings.Join(list, " ")
}

func lost(l *Log, reason string) float64 { return testutil.ToFloat64(l.counters.lost[reason]) }

func fileNames(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestAppendAndFind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	l := open(t, dir, nil)
	now := time.Now()
	a, b := mail.NewID(now), mail.NewID(now)
	type facts struct {
		Subject string `json:"subject"`
	}
	l.Append(a, "verdict", now, facts{"<b> & \"quoted\"\r\n\u2028 \x00"})
	l.Append(b, "verdict", now, map[string]int{"x": 1})
	l.Append(a, "attempt", now.Add(time.Second), json.RawMessage("{\n \"code\": 250 }"))
	l.Append(a, "odd \"kind\"\n", now, nil)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := find(t, dir, a)
	if len(got) != 3 || got[0].ID != a || !got[0].At.Equal(now.Round(0)) || got[1].Kind != "attempt" || string(got[1].Data) != `{"code":250}` || got[2].Kind != "odd \"kind\"\n" {
		t.Errorf("%+v", got)
	}
	var f facts
	if err := json.Unmarshal(got[0].Data, &f); err != nil || f.Subject != "<b> & \"quoted\"\r\n\u2028 \x00" {
		t.Errorf("%q, %v", f.Subject, err)
	}
	if got := brief(find(t, dir, b)); got != `verdict={"x":1}` {
		t.Error(got)
	}
	if got := find(t, dir, mail.NewID(now)); got != nil {
		t.Errorf("%+v", got)
	}
	checkModes(t, dir)
}

// Facts are personal data: nobody but the gateway's user reads them.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
}

func TestFindWithoutHistory(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/nonexistent/history"} {
		if got := find(t, dir, mail.NewID(time.Now())); got != nil {
			t.Error(got)
		}
	}
	if _, err := Find("/dev/null", nil, mail.NewID(time.Now())); err == nil {
		t.Error("a file is no directory")
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Open("/dev/null/history", week, nil, nil); err == nil {
		t.Error("no error")
	}
	if _, err := Open(t.TempDir(), 0, nil, nil); err == nil {
		t.Error("nothing would be kept")
	}
}

// Entries are on disk a second later, without Close.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, dir, nil)
		id := mail.NewID(time.Now())
		for round := 1; round <= 3; round++ {
			l.Append(id, "attempt", time.Now(), round)
			synctest.Wait()
			if n := len(find(t, dir, id)); n != round-1 {
				t.Errorf("%d entries before the flush", n)
			}
			time.Sleep(flushEvery)
			synctest.Wait()
			if n := len(find(t, dir, id)); n != round {
				t.Errorf("%d entries after the flush", n)
			}
		}
		for range gather {
			l.Append(id, "verdict", time.Now(), 0)
		}
		synctest.Wait()
		if n := len(find(t, dir, id)); n != 3+gather {
			t.Errorf("%d entries: many of them wait", n)
		}
		l.Close()
	})
}

// The file of an entry is that of its own day; Find reads from the ID's day on,
// and one before where the clock may have been set back.
func TestDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC of 2000-01-01
		dir := t.TempDir()
		l := open(t, dir, nil)
		time.Sleep(24*time.Hour - time.Second)
		start := time.Now()
		id := mail.NewID(start)
		l.Append(id, "verdict", start, 1)
		l.Append(id, "attempt", start.Add(2*time.Second), 2)
		l.Append(id, "late", start, 3) // across midnight and back
		local := time.FixedZone("far", 14*3600)
		l.Append(id, "attempt", start.Add(49*time.Hour).In(local), 4)
		early := mail.NewID(start.Add(2 * time.Second))
		l.Append(early, "clock set back", start, 5)
		l.Close()
		if got, want := fileNames(t, dir), "2000-01-01.jsonl 2000-01-02.jsonl 2000-01-04.jsonl"; got != want {
			t.Errorf("files %s, want %s", got, want)
		}
		if got, want := brief(find(t, dir, id)), "verdict=1 late=3 attempt=2 attempt=4"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, want := brief(find(t, dir, early)), "clock set back=5"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// A day goes as a whole, when its last moment is older than the time to keep;
// at start and at midnight; and nothing else is touched.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"1999-12-23.jsonl", "1999-12-24.jsonl", "1999-12-25.jsonl", "1999-12-31.jsonl",
			"2099-01-01.jsonl", "notes.txt", "1999-01-01.json", "1999-02-30.jsonl", "x1999-01-01.jsonl"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(dir, "1999-01-02.jsonl"), 0o700); err != nil {
			t.Fatal(err)
		}
		const others = "1999-01-01.json 1999-01-02.jsonl 1999-02-30.jsonl "
		time.Sleep(time.Hour) // 01:00
		l := open(t, dir, nil)
		synctest.Wait()
		if got, want := fileNames(t, dir), others+"1999-12-25.jsonl 1999-12-31.jsonl 2099-01-01.jsonl notes.txt x1999-01-01.jsonl"; got != want {
			t.Errorf("at start: %s, want %s", got, want)
		}
		time.Sleep(23*time.Hour + time.Second)
		synctest.Wait()
		if got, want := fileNames(t, dir), others+"1999-12-31.jsonl 2099-01-01.jsonl notes.txt x1999-01-01.jsonl"; got != want {
			t.Errorf("at midnight: %s, want %s", got, want)
		}
		time.Sleep(6*24*time.Hour - 2*time.Second)
		synctest.Wait()
		if !strings.Contains(fileNames(t, dir), "1999-12-31") {
			t.Error("deleted too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if strings.Contains(fileNames(t, dir), "1999-12-31") {
			t.Error("still there at the seventh midnight after")
		}
		l.Close()
	})
}

// A line that a crash tore is skipped, and does not swallow the next one.
func TestTornLines(t *testing.T) {
	now := time.Now()
	id := mail.NewID(now)
	line := func(data string) string {
		return fmt.Sprintf(`{"id":"%s","kind":"k","at":"%s","data":%s}`, id, now.UTC().Format(time.RFC3339Nano), data)
	}
	whole := line("1")
	for cut := 0; cut <= len(whole); cut++ {
		dir := t.TempDir()
		path := filepath.Join(dir, dayOf(now).file())
		content := line("0") + "\n\x00\x00garbage\n\n" + whole[:cut]
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		want := "k=0"
		if cut == len(whole) {
			want += " k=1" // only the newline is missing
		}
		if got := brief(find(t, dir, id)); got != want {
			t.Fatalf("cut at %d: %s, want %s", cut, got, want)
		}
		if cut%20 != 0 && cut != len(whole) {
			continue
		}
		l := open(t, dir, nil)
		l.Append(id, "k", now, 2)
		l.Close()
		if got := brief(find(t, dir, id)); got != want+" k=2" {
			t.Fatalf("appended after a cut at %d: %s, want %s k=2", cut, got, want)
		}
	}
}

// What the disk does not take is counted and said once a minute; afterwards
// everything goes on.
func TestFailingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		dir := t.TempDir()
		l := open(t, dir, slog.New(slog.NewTextHandler(&log, nil)))
		path := filepath.Join(dir, dayOf(time.Now()).file())
		if err := os.Mkdir(path, 0o700); err != nil { // where the file should be
			t.Fatal(err)
		}
		id := mail.NewID(time.Now())
		for range 90 {
			l.Append(id, "attempt", time.Now(), 1)
			l.Append(id, "attempt", time.Now(), 2)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := lost(l, lostWrite); n < 170 {
			t.Errorf("%v are counted as lost", n)
		}
		if n := strings.Count(log.String(), "entries are lost"); n != 2 {
			t.Errorf("said %d times in 90 s:\n%s", n, log.String())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		l.Append(id, "attempt", time.Now(), 3)
		l.Close()
		if got := brief(find(t, dir, id)); got != "attempt=3" {
			t.Error(got)
		}
		if n := lost(l, lostWrite); n != 180 {
			t.Errorf("%v are counted as lost, want 180", n)
		}
	})
}

// A full disk takes a part of what is written.
func TestFullDisk(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip("no " + full)
	}
	dir := t.TempDir()
	now := time.Now()
	if err := os.Symlink(full, filepath.Join(dir, dayOf(now).file())); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, nil)
	for i := range 10 {
		l.Append(mail.NewID(now), "verdict", now, i)
	}
	l.Close()
	if n := lost(l, lostWrite); n != 10 {
		t.Errorf("%v are counted as lost", n)
	}
}

// Append never waits: while the writer is stuck, entries are counted and go.
func TestBacklog(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	l := &Log{dir: dir, keep: week, maxDay: MaxDayBytes, log: slog.New(slog.NewTextHandler(&log, nil)),
		counters: newCounters(), in: make(chan entry, 3), done: make(chan struct{})}
	id := mail.NewID(time.Now())
	for i := range 5 { // the writer does not run yet
		l.Append(id, "k", time.Now(), i)
	}
	if n := lost(l, lostBacklog); n != 2 {
		t.Errorf("%v lost", n)
	}
	l.start()
	l.Close()
	l.Close()
	if !strings.Contains(log.String(), "entries=2") {
		t.Errorf("not logged: %s", log.String())
	}
	l.Append(id, "k", time.Now(), 9)
	if got := brief(find(t, dir, id)); got != "k=0 k=1 k=2" || lost(l, lostClosed) != 1 {
		t.Errorf("%s; %v after Close", got, lost(l, lostClosed))
	}
}

// What cannot be encoded is counted; what is too large keeps its line.
func TestOddValues(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, nil)
	now := time.Now()
	id := mail.NewID(now)
	l.Append(id, "nan", now, math.NaN())
	l.Append(id, "channel", now, make(chan int))
	l.Append(id, "bad raw", now, json.RawMessage(`{"x":`))
	l.Append(id, "limit", now, strings.Repeat("x", maxEntry-2))
	l.Append(id, "over", now, strings.Repeat("x", maxEntry-1))
	l.Append(id, "after", now, "ok")
	l.Close()
	var kinds []string
	for _, e := range find(t, dir, id) {
		kinds = append(kinds, fmt.Sprint(e.Kind, len(e.Data)))
	}
	want := []string{fmt.Sprint("limit", maxEntry), "over4", "after4"}
	if d := cmp.Diff(want, kinds); d != "" {
		t.Error(d)
	}
	if lost(l, lostEncode) != 3 || testutil.ToFloat64(l.counters.cut) != 1 || testutil.ToFloat64(l.counters.written) != 3 {
		t.Errorf("encode %v, cut %v, written %v", lost(l, lostEncode), testutil.ToFloat64(l.counters.cut), testutil.ToFloat64(l.counters.written))
	}
}

func TestDayLimit(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, nil)
	l.maxDay = 200
	now := time.Now()
	id := mail.NewID(now)
	l.Append(id, "k", now, strings.Repeat("x", 300))
	l.Append(id, "k", now.Add(48*time.Hour), "next")
	l.Close()
	if got := brief(find(t, dir, id)); got != `k="next"` || lost(l, lostDay) != 1 {
		t.Errorf("%s, %v lost", got, lost(l, lostDay))
	}
}

// Readers, in what may be another process, and many writers at once.
func TestConcurrent(t *testing.T) {
	const writers, each = 8, 300
	dir := t.TempDir()
	l := open(t, dir, nil)
	now := time.Now()
	ids := make([]mail.ID, writers)
	var wg sync.WaitGroup
	for w := range writers {
		ids[w] = mail.NewID(now)
		wg.Go(func() {
			for i := range each {
				l.Append(ids[w], "k", now, []any{w, i, strings.Repeat("y", 700)})
			}
		})
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				find(t, dir, ids[0])
			}
		}
	})
	wg.Wait()
	l.Close()
	close(stop)
	readers.Wait()
	total := 0
	for w, id := range ids {
		last := -1
		for _, e := range find(t, dir, id) {
			var v []any
			if err := json.Unmarshal(e.Data, &v); err != nil || int(v[0].(float64)) != w {
				t.Fatalf("%v %v", v, err)
			}
			if n := int(v[1].(float64)); n <= last {
				t.Fatalf("writer %d: %d after %d", w, n, last)
			} else {
				last = n
			}
			total++
		}
	}
	if total+int(lost(l, lostBacklog)) != writers*each {
		t.Errorf("%d found and %v lost of %d", total, lost(l, lostBacklog), writers*each)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(open(t, t.TempDir(), nil))
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// TestSync: what was appended is there when it returns, in no more time than a
// batch takes; a closed log has nothing to wait for.
func TestSync(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir, nil)
		begin := time.Now()
		ids := []mail.ID{mail.NewID(begin), mail.NewID(begin)}
		for _, id := range ids {
			l.Append(id, "verdict", begin, 1)
		}
		if err := l.Sync(t.Context()); err != nil || time.Since(begin) > flushEvery {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		for _, id := range ids {
			if got := brief(find(t, dir, id)); got != "verdict=1" {
				t.Errorf("found %q", got)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Sync(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
