package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the HTTP server. Its clients are a scraper and a supervisor: a
// handful of small requests a minute.
const (
	maxHeader         = 16 << 10
	maxScrapes        = 4
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute // longer than the usual scrape interval
	gatherTimeout     = 10 * time.Second
)

// Options configure a Server.
type Options struct {
	Address  string // host:port; port 0 takes any free one
	Registry *prometheus.Registry
	Ready    func() []Problem // nil: always ready; usually Readiness.Problems
	Logger   *slog.Logger
}

// Server answers /metrics, /healthz and /readyz.
type Server struct {
	address string
	log     *slog.Logger
	http    http.Server

	mu sync.Mutex
	ln net.Listener
}

// New makes a Server that does not listen yet.
func New(o Options) *Server {
	s := &Server{address: o.Address, log: o.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.http = http.Server{
		Handler:           handler(o),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return s
}

// Listen opens the listening socket, so that a taken port is an error at start
// and not a log line later.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		return nil
	}
	ln, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	s.ln = ln
	return nil
}

// Addr is where the server listens; nil before Listen.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil {
		return nil
	}
	return s.ln.Addr()
}

// Serve answers requests until Shutdown; it listens first when Listen was not
// called. It returns nil after Shutdown.
func (s *Server) Serve() error {
	if err := s.Listen(); err != nil {
		return err
	}
	s.log.Info("metrics server is listening", "address", s.Addr().String())
	if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// Shutdown stops listening and waits for running requests; when ctx ends
// first, they are cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		s.ln.Close() // http.Server knows the listener only once Serve ran
	}
	return err
}

func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{
		Registry:            o.Registry, // counts its own errors
		MaxRequestsInFlight: maxScrapes,
		Timeout:             gatherTimeout,
	}))
	mux.HandleFunc("/healthz", serveHealth)
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { serveReady(w, o.Ready) })
	return readOnly(mux)
}

// readOnly refuses everything but GET and HEAD (RFC 9110 section 15.5.6: a 405
// names what is allowed), and keeps browsers from guessing types.
func readOnly(next http.Handler) http.Handler {
	allowed := []string{http.MethodGet, http.MethodHead}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != allowed[0] && r.Method != allowed[1] {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// serveReady gives the list of problems, an empty list when there are none.
func serveReady(w http.ResponseWriter, ready func() []Problem) {
	problems := []Problem{}
	if ready != nil {
		problems = append(problems, ready()...)
	}
	body, err := json.Marshal(problems)
	if err != nil { // three strings always encode
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if anyFailed(problems) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write(append(body, '\n'))
}
