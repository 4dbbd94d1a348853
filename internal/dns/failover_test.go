package dns

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A dead first server costs the first look-up a part of its time-out and the
// others nothing; it is probed beside the look-ups, and comes back.
func TestDeadFirstServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "dead", "good")
		defer r.Close()
		good := func(_ context.Context, q *query) (*wire.Msg, error) {
			return message(t, q.key, q.key.name+". 60 A 192.0.2.1"), nil
		}
		s.set("dead:53", dead)
		s.set("good:53", good)
		ask := func(i int) time.Duration {
			t.Helper()
			start := time.Now()
			if _, err := r.LookupA(t.Context(), fmt.Sprintf("n%d.example", i)); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if d := ask(0); d == 0 || d > 600*time.Millisecond {
			t.Errorf("first look-up took %v", d)
		}
		s.count()
		for i := 1; i < 100; i++ { // 300 s: several probes
			time.Sleep(3 * time.Second)
			if d := ask(i); d > 0 {
				t.Fatalf("look-up %d took %v", i, d)
			}
		}
		if n := s.count()["dead:53"]; n < 4 || n > 10 {
			t.Errorf("the dead server was probed %d times in 5 minutes", n)
		}
		s.set("dead:53", good)
		time.Sleep(maxBehind)
		ask(1000) // sends the probe
		synctest.Wait()
		s.count()
		ask(1001)
		if n := s.count(); n["dead:53"] != 1 || n["good:53"] != 0 {
			t.Errorf("after it came back: %v", n)
		}
	})
}

// A slow name must not make a server look dead that answers other names.
func TestSlowNameIsNotADeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a", "b")
		defer r.Close()
		answer := func(ctx context.Context, q *query) (*wire.Msg, error) {
			if q.key.name == "slow.example" {
				return dead(ctx, q)
			}
			return message(t, q.key, q.key.name+". 60 A 192.0.2.1"), nil
		}
		s.set("a:53", answer)
		s.set("b:53", answer)
		done := make(chan error)
		go func() {
			_, err := r.LookupA(t.Context(), "slow.example")
			done <- err
		}()
		for i := range 30 {
			time.Sleep(100 * time.Millisecond)
			if _, err := r.LookupA(t.Context(), fmt.Sprintf("n%d.example", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; !IsTemporary(err) || !IsTimeout(err) {
			t.Errorf("slow name: %v", err)
		}
		if behind, _ := r.servers[0].state(time.Now()); behind {
			t.Error("the server was put behind")
		}
	})
}

// One attempt is one failure, even if it is late first and wrong then.
func TestFailureCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a", "b")
		defer r.Close()
		s.set("a:53", func(ctx context.Context, q *query) (*wire.Msg, error) {
			time.Sleep(900 * time.Millisecond)
			return nil, errGarbage
		})
		s.set("b:53", records(t, 1200*time.Millisecond, "x.example. 60 A 192.0.2.1"))
		if _, err := r.LookupA(t.Context(), "x.example"); err != nil {
			t.Error(err)
		}
		failures := func(server, reason string) float64 {
			return testutil.ToFloat64(r.metrics.failures.WithLabelValues(server, reason))
		}
		if failures("1", "timeout")+failures("1", "garbage") != 2 { // two attempts: both late, one of them garbage later
			t.Errorf("server 1: %v timeouts, %v garbage", failures("1", "timeout"), failures("1", "garbage"))
		}
	})
}

// Late is better than never: an answer to the first query is still taken when
// a second one has been sent.
func TestLateAnswerIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a")
		defer r.Close()
		s.set("a:53", records(t, 1900*time.Millisecond, "x.example. 60 A 192.0.2.1"))
		start := time.Now()
		if _, err := r.LookupA(t.Context(), "x.example"); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 1900*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

// The whole look-up ends at its time-out, and the failure is remembered for a
// short time only.
func TestTimeoutInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a", "b", "c")
		defer r.Close()
		for _, a := range []string{"a:53", "b:53", "c:53"} {
			s.set(a, dead)
		}
		start := time.Now()
		_, err := r.LookupTXT(t.Context(), "x.example")
		if !IsTimeout(err) || IsNotFound(err) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("took %v", d)
		}
		start = time.Now()
		if _, err = r.LookupTXT(t.Context(), "x.example"); !IsTimeout(err) || time.Since(start) != 0 {
			t.Errorf("again: %v after %v", err, time.Since(start))
		}
	})
}

// One server's SERVFAIL is not the last word while another can be asked, and
// it is not asked again for this name.
func TestServFailGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a", "b")
		defer r.Close()
		s.set("a:53", func(_ context.Context, q *query) (*wire.Msg, error) {
			m := message(t, q.key)
			m.Rcode = wire.RcodeServerFailure
			return m, nil
		})
		s.set("b:53", records(t, 0, "x.example. 60 A 192.0.2.1"))
		if _, err := r.LookupA(t.Context(), "x.example"); err != nil {
			t.Error(err)
		}
		s.set("b:53", s.reply["a:53"])
		s.count()
		_, err := r.LookupA(t.Context(), "y.example")
		if !IsTemporary(err) || IsTimeout(err) {
			t.Error(err)
		}
		if n := s.count(); n["a:53"] != 1 || n["b:53"] != 1 {
			t.Errorf("asked %v", n)
		}
		if behind, _ := r.servers[0].state(time.Now()); behind {
			t.Error("SERVFAIL put the server behind")
		}
	})
}

func TestServers(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		t.Helper()
		file := filepath.Join(dir, "resolv.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for text, want := range map[string][]string{
		"nameserver 192.0.2.53\nnameserver 2001:db8::53\n": {"192.0.2.53:53", "[2001:db8::53]:53"},
		"search example.org\n":                             {"127.0.0.1:53"},
		"":                                                 {"127.0.0.1:53"},
	} {
		if got, err := systemServers(write(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := systemServers(dir + "/none"); err != nil || !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Errorf("no file: %v, %v", got, err)
	}
	if _, err := New(Options{Servers: []string{"192.0.2.1"}}); err == nil {
		t.Error("a server without a port was taken")
	}
}
