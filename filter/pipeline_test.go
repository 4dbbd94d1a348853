package filter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"mailweir/mail"
)

type fakeCheck struct {
	name string
	run  func(context.Context, *Transaction) Report
}

func (c fakeCheck) Name() string                                    { return c.name }
func (c fakeCheck) Run(ctx context.Context, tx *Transaction) Report { return c.run(ctx, tx) }

type fakeStreamer struct {
	fakeCheck
	start func(*Transaction) Stream
}

func (s fakeStreamer) Start(_ context.Context, tx *Transaction) Stream { return s.start(tx) }

type bodyStream struct {
	buf     bytes.Buffer
	aborted bool
}

func (s *bodyStream) Write(p []byte)             { s.buf.Write(p) }
func (s *bodyStream) End(context.Context) Report { return found("BODY_" + s.buf.String()) }
func (s *bodyStream) Abort()                     { s.aborted = true }

type sumScorer struct{}

func (sumScorer) Eval(f *Facts, _ string) []Symbol { return f.Symbols }
func (sumScorer) Class(*Facts, mail.Path) string   { return "" }
func (sumScorer) Hash() string                     { return "test" }

// store is an Intake of sorts.
type store struct {
	mu sync.Mutex
	b  []byte
}

func (s *store) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = append(s.b, p...)
	return len(p), nil
}

func (s *store) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.NewReader(s.b).ReadAt(p, off)
}

func found(name string) Report { return Report{State: OK, Symbols: []Symbol{{Name: name}}} }

func pipeline(chain Chain, edit func(*Options)) *Pipeline {
	m := NewMetrics(prometheus.NewRegistry())
	o := Options{
		Chain: chain, Scorer: func() Scorer { return sumScorer{} }, Limits: DefaultLimits(),
		Pool: NewPool(8, m), Metrics: m, MaxListing: 100,
	}
	if edit != nil {
		edit(&o)
	}
	return New(o)
}

// judge sends msg through p in chunks of n octets.
func judge(t *testing.T, p *Pipeline, msg string, n int) (*Judgement, error) {
	t.Helper()
	ctx := context.Background()
	conn := p.Connect(ctx, mail.Client{})
	defer conn.Close()
	env := &mail.Envelope{ID: mail.NewID(time.Now()), Recipients: []mail.Recipient{{Path: "a@b.example"}}}
	i := conn.Begin(ctx, mail.Client{}, env)
	defer i.Close()
	s := &store{}
	i.Receive(s)
	for b := []byte(msg); len(b) > 0; {
		k := min(n, len(b))
		s.Write(b[:k])
		if err := i.Write(b[:k]); err != nil {
			return nil, err
		}
		b = b[k:]
	}
	return i.Judge(mail.Bytes(msg)), nil
}

func names(symbols []Symbol) string {
	var list []string
	for _, s := range symbols {
		list = append(list, s.Name)
	}
	return strings.Join(list, " ")
}

// The merge order is the list's, however the goroutines race; a streamer sees
// exactly the body and a follower exactly the message, at every chunk size.
func TestPipelineOrderAndStreams(t *testing.T) {
	slow := func(name string, d time.Duration) Check {
		return fakeCheck{name, func(context.Context, *Transaction) Report { time.Sleep(d); return found(strings.ToUpper(name)) }}
	}
	follow := fakeCheck{"follow", func(ctx context.Context, tx *Transaction) Report {
		b, err := io.ReadAll(tx.Follow(ctx))
		return Report{State: OK, Symbols: []Symbol{{Name: "FOLLOWED", Detail: fmt.Sprint(string(b), err)}}}
	}}
	chain := Chain{
		Connect: Group{slow("a", 3*time.Millisecond), slow("b", 0)},
		Mail:    Group{slow("c", 2*time.Millisecond)},
		Data: Group{
			fakeStreamer{fakeCheck{name: "stream"}, func(*Transaction) Stream { return &bodyStream{} }},
			follow,
		},
		Done: []Group{
			{slow("d", time.Millisecond), slow("e", 0)},
			{fakeCheck{"f", func(_ context.Context, tx *Transaction) Report { return found("F_SAW_" + tx.Facts.Symbols[5].Name) }}},
		},
	}
	for _, msg := range []string{"A: b\r\nC: d\r\n\r\nbody\r\n", "A: b\r\n\r\n", "\r\nbody", "A: b\r\nno end"} {
		_, body, _ := strings.Cut("\r\n"+msg, "\r\n\r\n")
		for n := 1; n <= len(msg); n++ {
			j, err := judge(t, pipeline(chain, nil), msg, n)
			if err != nil {
				t.Fatal(err)
			}
			want := "A B C BODY_" + body + " FOLLOWED D E F_SAW_D"
			if got := names(j.Symbols); got != want {
				t.Fatalf("chunks of %d of %q: %q, want %q", n, msg, got, want)
			}
			if got := j.Symbols[4].Detail; got != msg+"<nil>" {
				t.Fatalf("chunks of %d of %q: followed %q", n, msg, got)
			}
		}
	}
}

func TestCheckNeverFailsSilently(t *testing.T) {
	chain := Chain{
		Connect: Group{fakeCheck{"hangs", func(ctx context.Context, _ *Transaction) Report {
			<-ctx.Done()
			return Report{State: Timeout, Cause: ctx.Err()}
		}}},
		Mail: Group{fakeCheck{"panics", func(context.Context, *Transaction) Report { panic("boom") }}},
		Data: Group{fakeStreamer{fakeCheck{name: "stream"}, func(*Transaction) Stream { panic("boom") }}},
		Done: []Group{
			{fakeCheck{"forgets", func(context.Context, *Transaction) Report { return Report{} }}},
			{fakeCheck{"fails", func(context.Context, *Transaction) Report {
				return Report{State: Error, Cause: errors.New("a\r\nb")}
			}}},
			{fakeCheck{"off", func(context.Context, *Transaction) Report { return found("NEVER") }}},
		},
	}
	metrics := NewMetrics(prometheus.NewRegistry())
	p := pipeline(chain, func(o *Options) {
		o.Limits.Connect = time.Millisecond
		o.Off = map[string]string{"off": "disabled by config"}
		o.Metrics = metrics
	})
	j, err := judge(t, p, "A: b\r\n\r\nbody\r\n", 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(j.Symbols); got != "HANGS_TIMEOUT PANICS_ERROR STREAM_ERROR FORGETS_ERROR FAILS_ERROR" {
		t.Errorf("symbols %q", got)
	}
	if last := j.Facts.Checks[5]; last.State != Skipped || last.Cause != "disabled by config" {
		t.Errorf("a disabled check ended as %+v", last)
	}
	for check, want := range map[string]uint64{"off": 0, "fails": 1} {
		var got uint64
		for _, s := range []State{OK, Timeout, Error, Skipped} {
			var d dto.Metric
			if err := metrics.duration.WithLabelValues(check, string(s)).(prometheus.Metric).Write(&d); err != nil {
				t.Fatal(err)
			}
			got += d.GetHistogram().GetSampleCount()
		}
		if got != want {
			t.Errorf("durations of %q: %d, want %d", check, got, want)
		}
	}
	if d := j.Symbols[4].Detail; strings.ContainsAny(d, "\r\n") {
		t.Errorf("a line break got into evidence: %q", d)
	}
	if n := testutil.ToFloat64(metrics.panics); n != 2 {
		t.Errorf("%v of 2 panics were counted", n)
	}
}

func TestPoolIsBounded(t *testing.T) {
	block := make(chan struct{})
	chain := Chain{Connect: Group{
		fakeCheck{"first", func(context.Context, *Transaction) Report { <-block; return found("FIRST") }},
		fakeCheck{"second", func(context.Context, *Transaction) Report { <-block; return found("SECOND") }},
	}}
	p := pipeline(chain, func(o *Options) {
		o.Pool = NewPool(1, o.Metrics)
		o.Limits.Connect = 20 * time.Millisecond
	})
	go func() { time.Sleep(60 * time.Millisecond); close(block) }()
	j, err := judge(t, p, "A: b\r\n\r\n", 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(j.Symbols); got != "FIRST SECOND_TIMEOUT" && got != "FIRST_TIMEOUT SECOND" {
		t.Errorf("one worker for two checks: %q", got)
	}
}

// A sender may take as long as the session lets it; the scanner's time begins
// at the final dot, and a scanner that then does not answer is a time-out.
func TestFollowerDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := fakeCheck{"clamav", func(ctx context.Context, tx *Transaction) Report {
			io.ReadAll(tx.Follow(ctx))
			<-ctx.Done()
			return Report{State: Error, Cause: ctx.Err()}
		}}
		p := pipeline(Chain{Data: Group{hang}}, func(o *Options) { o.Limits.Data = time.Minute })
		conn := p.Connect(t.Context(), mail.Client{})
		defer conn.Close()
		i := conn.Begin(t.Context(), mail.Client{}, &mail.Envelope{})
		defer i.Close()
		s := &store{}
		i.Receive(s)
		for range 10 { // ten minutes for ten pieces
			time.Sleep(time.Minute)
			s.Write([]byte("A: b\r\n"))
			i.Write([]byte("A: b\r\n"))
		}
		s.Write([]byte("\r\n"))
		i.Write([]byte("\r\n"))
		dot := time.Now()
		j := i.Judge(mail.Bytes(s.b))
		if took := time.Since(dot); took != time.Minute || names(j.Symbols) != "CLAMAV_TIMEOUT" {
			t.Errorf("after %v: %s", took, names(j.Symbols))
		}
	})
}

func TestHeaderLimit(t *testing.T) {
	p := pipeline(Chain{}, func(o *Options) { o.Limits.HeaderSection = 100 })
	long := "X: " + strings.Repeat("a", 200) + "\r\n\r\n"
	for _, n := range []int{1, 50, 1000} {
		if _, err := judge(t, p, long, n); !errors.Is(err, ErrHeaderTooLarge) {
			t.Errorf("chunks of %d: %v", n, err)
		}
	}
	if _, err := judge(t, p, "X: y\r\n\r\n"+strings.Repeat("a", 500), 1000); err != nil {
		t.Errorf("the body counts as header: %v", err)
	}
}

// Close must wait until a follower has let go of the bytes, and must end it.
func TestCloseEndsFollowers(t *testing.T) {
	left := make(chan error, 1)
	chain := Chain{Data: Group{fakeCheck{"follow", func(ctx context.Context, tx *Transaction) Report {
		_, err := io.ReadAll(tx.Follow(ctx))
		left <- err
		return Report{State: Error, Cause: err}
	}}}}
	p := pipeline(chain, nil)
	conn := p.Connect(context.Background(), mail.Client{})
	i := conn.Begin(context.Background(), mail.Client{}, &mail.Envelope{})
	s := &store{}
	i.Receive(s)
	s.Write([]byte("A: b\r\n\r\nbo"))
	if err := i.Write([]byte("A: b\r\n\r\nbo")); err != nil {
		t.Fatal(err)
	}
	i.Close()
	select {
	case err := <-left:
		if err == nil {
			t.Error("a message cut short ended like a whole one")
		}
	default:
		t.Error("Close returned while the follower was reading")
	}
	conn.Close()
}
