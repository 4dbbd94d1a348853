package logline

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mailweir/internal/jsonx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type sample struct {
	name string
	n    int
}

func (s *sample) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", s.name), slog.Int("n", s.n))
}

func (s *sample) AppendFields(o *jsonx.Object) {
	o.String("name", s.name)
	o.Int("n", int64(s.n))
}

// The short way and slog's own write the same, with every kind of logger.
func TestHandlerLikeSlog(t *testing.T) {
	for name, with := range map[string]func(*slog.Logger) *slog.Logger{
		"plain": func(l *slog.Logger) *slog.Logger { return l },
		"attrs": func(l *slog.Logger) *slog.Logger { return l.With("a", 1) },
		"group": func(l *slog.Logger) *slog.Logger { return l.WithGroup("g") },
	} {
		var got, want bytes.Buffer
		at := time.Now()
		for out, h := range map[*bytes.Buffer]slog.Handler{&got: NewHandler(&got, slog.LevelInfo), &want: slog.NewJSONHandler(&want, nil)} {
			l := with(slog.New(h))
			Log(l, at, slog.LevelInfo, "a line", &sample{"\"quoted\" <b>\n", -7})
			Log(l, time.Time{}, slog.LevelWarn+1, "no time", &sample{})
			Log(l, at, slog.LevelDebug, "not enabled", &sample{})
			if out.Len() == 0 {
				t.Error("nothing was logged")
			}
		}
		if got.String() != want.String() {
			t.Errorf("%s:\n%s, want\n%s", name, &got, &want)
		}
	}
}

// Everything that is no Line is slog's.
func TestHandlerPassesOn(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(NewHandler(&out, slog.LevelInfo))
	l.Info("usual", "error", errors.New("x"), "list", []int{1, 2})
	l.Info("one", "key", "value")
	for _, want := range []string{`"msg":"usual","error":"x","list":[1,2]}`, `"msg":"one","key":"value"}`} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("%s is not in %s", want, &out)
		}
	}
}

// blocked is an output that waits for a word before each write.
type blocked struct {
	begin  chan struct{}
	mu     sync.Mutex
	out    bytes.Buffer
	writes int
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.begin
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	return b.out.Write(p)
}

func TestWriterGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &blocked{begin: make(chan struct{})}
		w := NewWriter(out)
		fmt.Fprintln(w, 0)
		synctest.Wait() // it is on its way, alone
		for k := 1; k < 100; k++ {
			fmt.Fprintln(w, k)
		}
		close(out.begin)
		w.Close()
		lines := strings.Fields(out.out.String())
		if len(lines) != 100 || lines[0] != "0" || lines[99] != "99" || out.writes != 2 {
			t.Errorf("%d writes, %q", out.writes, lines)
		}
	})
}

// Who writes faster than the output takes it waits, and nothing is lost.
func TestWriterHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &blocked{begin: make(chan struct{})}
		w := NewWriter(out)
		line := append(bytes.Repeat([]byte("x"), 1023), '\n')
		written := 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 3 * maxWaiting / len(line) {
				w.Write(line)
				written += len(line)
			}
		})
		synctest.Wait()
		if written > 2*(maxWaiting+len(line)) {
			t.Errorf("%d octets wait", written)
		}
		close(out.begin)
		wg.Wait()
		w.Close()
		if out.out.Len() != 3*maxWaiting {
			t.Errorf("%d octets of %d", out.out.Len(), 3*maxWaiting)
		}
	})
}

// Lines of one goroutine stay in order, and all of them arrive, also those that
// come while and after it closes.
func TestWriterClose(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for k := range 1000 {
				fmt.Fprintf(w, "%d %d\n", g, k)
			}
		})
	}
	w.Flush()
	w.Close()
	wg.Wait()
	var next [4]int
	for line := range strings.Lines(out.String()) {
		var g, k int
		if _, err := fmt.Sscan(line, &g, &k); err != nil || next[g] != k {
			t.Fatalf("%q, want %d: %v", line, next[g], err)
		}
		next[g]++
	}
	if next != [4]int{1000, 1000, 1000, 1000} {
		t.Error(next)
	}
}

// An error is out when the call returns: the process may end next.
func TestErrorIsOutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := NewWriter(&out)
		defer w.Close()
		slog.New(NewHandler(w, slog.LevelInfo)).Error("fatal")
		if !strings.Contains(out.String(), "fatal") {
			t.Errorf("%q", out.String())
		}
	})
}

func BenchmarkLog(b *testing.B) {
	for name, h := range map[string]slog.Handler{"line": NewHandler(discard{}, slog.LevelInfo), "slog": slog.NewJSONHandler(discard{}, nil)} {
		b.Run(name, func(b *testing.B) {
			l, at, s := slog.New(h), time.Now(), &sample{"name", 1}
			b.ReportAllocs()
			for b.Loop() {
				Log(l, at, slog.LevelInfo, "transaction", s)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
