package main

import (
	"errors"
	"io"
	"net"

	"github.com/emersion/go-smtp"
)

// demoSink is the next hop: go-smtp's server, which keeps what it gets.
type demoSink struct {
	addr   string
	got    chan []byte
	server *smtp.Server
	done   chan error
}

func newDemoSink() (*demoSink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &demoSink{addr: l.Addr().String(), got: make(chan []byte, 16), done: make(chan error, 1)}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return sinkSession{s}, nil }))
	s.server.Domain = "sink.example"
	s.server.MaxLineLength = 1 << 20
	go func() { s.done <- s.server.Serve(l) }()
	return s, nil
}

func (s *demoSink) close() error {
	err := s.server.Close()
	if served := <-s.done; !errors.Is(served, smtp.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

type sinkSession struct{ s *demoSink }

func (sinkSession) Mail(string, *smtp.MailOptions) error { return nil }

func (sinkSession) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (sinkSession) Reset() {}

func (sinkSession) Logout() error { return nil }

func (k sinkSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		k.s.got <- b
	}
	return err
}
