package metrics

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, h http.Handler, method, path string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPaths(t *testing.T) {
	o := Options{Registry: NewRegistry("1.2.3")}
	for _, tt := range []struct {
		method, path string
		code         int
		holds        string
	}{
		{"GET", "/metrics", 200, `mailweir_build_info{goversion="go1.`},
		{"GET", "/metrics", 200, `version="1.2.3"} 1`},
		{"GET", "/metrics", 200, "process_resident_memory_bytes"},
		{"GET", "/metrics", 200, "go_goroutines"},
		{"GET", "/healthz", 200, "ok"},
		{"GET", "/readyz", 200, "[]"},
		{"HEAD", "/readyz", 200, ""},
		{"POST", "/readyz", 405, "Method Not Allowed"},
		{"DELETE", "/metrics", 405, ""},
		{"PUT", "/healthz", 405, ""},
		{"GET", "/", 404, ""},
		{"GET", "/healthz/x", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
		{"GET", "/debug/pprof/cmdline", 404, ""},
		{"POST", "/debug/pprof/symbol", 405, ""},
	} {
		r := get(t, handler(o), tt.method, tt.path)
		if b := body(t, r); r.StatusCode != tt.code || !strings.Contains(b, tt.holds) {
			t.Errorf("%s %s: %d, %.200q; want %d with %q", tt.method, tt.path, r.StatusCode, b, tt.code, tt.holds)
		}
		if r.StatusCode == 405 && r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s: Allow %q", tt.method, tt.path, r.Header.Get("Allow"))
		}
	}
}

// Degraded parts are listed, failed ones take the gateway out of service.
func TestReadiness(t *testing.T) {
	ready := NewReadiness()
	h := handler(Options{Registry: NewRegistry(""), Ready: ready.Problems})
	for _, step := range []struct {
		part   string
		state  State
		detail string
		code   int
		want   []Problem
	}{
		{"clamav", OK, "", 200, []Problem{}},
		{"clamav", Degraded, "dial: refused", 200, []Problem{{"clamav", Degraded, "dial: refused"}}},
		{"queue", Failed, "the spool is full", 503, []Problem{{"clamav", Degraded, "dial: refused"}, {"queue", Failed, "the spool is full"}}},
		{"clamav", OK, "", 503, []Problem{{"queue", Failed, "the spool is full"}}},
		{"queue", Degraded, "almost full", 200, []Problem{{"queue", Degraded, "almost full"}}},
		{"queue", OK, "", 200, []Problem{}},
	} {
		ready.Set(step.part, step.state, step.detail)
		r := get(t, h, "GET", "/readyz")
		var got []Problem
		if err := json.Unmarshal([]byte(body(t, r)), &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(step.want, got); d != "" || r.StatusCode != step.code || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s", step.part, step.state, r.StatusCode, d)
		}
	}
	var none *Readiness
	none.Set("x", Failed, "")
	if none.Problems() != nil {
		t.Error("a nil Readiness has problems")
	}
}

func TestServeAndShutdown(t *testing.T) {
	s := New(Options{Address: "127.0.0.1:0", Registry: NewRegistry("")})
	if s.Addr() != nil {
		t.Error("an address before Listen")
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	r, err := http.Get("http://" + s.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if b := body(t, r); b != "ok\n" {
		t.Errorf("%q", b)
	}
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	other := New(Options{Address: s.Addr().String(), Registry: NewRegistry("")})
	if err := other.Serve(); err == nil {
		t.Error("two servers on one port")
	}
	shutdown(t, s)
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func shutdown(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// Shutdown before Serve frees the port, and ends a Serve that comes later.
func TestShutdownBeforeServe(t *testing.T) {
	s := New(Options{Address: "127.0.0.1:0", Registry: NewRegistry("")})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	address := s.Addr().String()
	shutdown(t, s)
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("still listening")
	}
	if err := s.Serve(); err != nil {
		t.Error(err)
	}
}

// Header sections have a limit: whoever reaches the port cannot fill memory.
func TestHeaderLimit(t *testing.T) {
	s := New(Options{Address: "127.0.0.1:0", Registry: NewRegistry("")})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", 100_000)+"\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, " 431 ") {
		t.Errorf("%q, %v", line, err)
	}
	shutdown(t, s)
	<-served
}
