package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"syscall"

	"mailweir/internal/config"
	"mailweir/internal/fsx"
	"mailweir/mail"
	"mailweir/queue"
)

// queueReader is the queue as the commands that change nothing see it: the
// running gateway's, or a spool without one.
type queueReader interface {
	list(f queue.Filter, each func(queue.Item) error) error
	listJSON(f queue.Filter, w io.Writer) error // an object a line
	get(id mail.ID) (queue.Item, error)
	message(id mail.ID, w io.Writer) error
	why(id mail.ID) (queue.Why, error)
	summary(f queue.Filter) ([]queue.AgeRow, error)
}

// readQueue finds out which of them there is.
func readQueue(ctx context.Context, cfg *config.Config, read func(queueReader) error) error {
	c := newControl(ctx, cfg)
	err := c.dial()
	switch {
	case err == nil:
		return read(c)
	case !errors.Is(err, errNotRunning):
		return err
	}
	keys, err := spoolKeys(cfg)
	if err != nil {
		return err
	}
	o := queue.Options{Expire: cfg.Queue.Expire, QuarantineKeep: cfg.Queue.Quarantine, Keys: keys}
	return queue.Peek(fsx.OS{}, spoolDir(cfg), o, func(q *queue.Queue) error { return read(stopped{q}) })
}

// control is the client's side of the control socket.
type control struct {
	ctx  context.Context // of the command
	path string
	http *http.Client
	open atomic.Pointer[net.Conn] // what dial has opened, until the first request takes it
}

// errNotRunning tells that no gateway listens on the socket.
var errNotRunning = errors.New("the gateway is not running: its control socket does not answer")

func newControl(ctx context.Context, cfg *config.Config) *control {
	c := &control{ctx: ctx, path: controlPath(cfg)}
	c.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) },
	}}
	return c
}

func (c *control) connect(ctx context.Context) (net.Conn, error) {
	if conn := c.open.Swap(nil); conn != nil {
		return *conn, nil
	}
	return new(net.Dialer).DialContext(ctx, "unix", c.path)
}

// dial finds out whether a gateway is there, and keeps the connection for the
// first request: each costs the gateway a goroutine and both sides a wait.
func (c *control) dial() error {
	conn, err := c.connect(c.ctx)
	if err != nil {
		return dialError(err)
	}
	c.open.Store(&conn)
	return nil
}

// dialError tells a socket that is not there, or that nobody listens on, from
// one that we may not use: the spool behind that one must not be read.
func dialError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)) {
		return errNotRunning
	}
	return err
}

func (c *control) get(id mail.ID) (item queue.Item, err error) {
	err = c.one("/queue/"+id.String(), &item)
	return item, err
}

func (c *control) why(id mail.ID) (why queue.Why, err error) {
	err = c.one("/queue/"+id.String()+"/why", &why)
	return why, err
}

func (c *control) message(id mail.ID, w io.Writer) error {
	body, err := c.do(http.MethodGet, "/queue/"+id.String()+"/message", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

func (c *control) list(f queue.Filter, each func(queue.Item) error) error {
	return lines(c, listPath(f), each)
}

// listJSON passes on what comes: to take it apart and put it together again
// would cost most of what a long listing costs.
func (c *control) listJSON(f queue.Filter, w io.Writer) error {
	body, err := c.do(http.MethodGet, listPath(f), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

func listPath(f queue.Filter) string { return "/queue?" + filterQuery(f).Encode() }

func (c *control) ids(f queue.Filter) (list []string, err error) {
	err = lines(c, "/queue/ids?"+filterQuery(f).Encode(), func(id string) error {
		list = append(list, id)
		return nil
	})
	return list, err
}

func (c *control) summary(f queue.Filter) (rows []queue.AgeRow, err error) {
	err = lines(c, "/queue/summary?"+filterQuery(f).Encode(), func(r queue.AgeRow) error {
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// act asks for an action, and calls each with what became of each message.
func (c *control) act(verb string, r actionRequest, each func(actionResult) error) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	body, err := c.do(http.MethodPost, "/queue/"+url.PathEscape(verb), bytes.NewReader(b))
	if err != nil {
		return err
	}
	return decodeLines(body, each)
}

func (c *control) one(path string, v any) error {
	body, err := c.do(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(v)
}

func (c *control) do(method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(c.ctx, method, "http://gateway"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, dialError(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode == http.StatusNotFound {
		return nil, queue.ErrNotFound
	}
	return nil, errors.New(string(bytes.TrimSpace(text)))
}

// lines gets one JSON value a line.
func lines[T any](c *control, path string, each func(T) error) error {
	body, err := c.do(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return decodeLines(body, each)
}

func decodeLines[T any](r io.ReadCloser, each func(T) error) error {
	defer r.Close()
	d := json.NewDecoder(bufio.NewReader(r))
	for {
		var v T
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := each(v); err != nil {
			return err
		}
	}
}

// stopped reads a spool that no gateway has open.
type stopped struct{ q *queue.Queue }

func (s stopped) list(f queue.Filter, each func(queue.Item) error) error {
	for i := range s.q.List(f) {
		if err := each(i); err != nil {
			return err
		}
	}
	return nil
}

func (s stopped) listJSON(f queue.Filter, w io.Writer) error {
	out := json.NewEncoder(w)
	return s.list(f, func(i queue.Item) error { return out.Encode(i) })
}

func (s stopped) get(id mail.ID) (queue.Item, error) {
	i, ok := s.q.Get(id)
	return i, found(ok)
}

func (s stopped) why(id mail.ID) (queue.Why, error) {
	w, ok := s.q.Why(id)
	return w, found(ok)
}

func (s stopped) message(id mail.ID, w io.Writer) error { return s.q.Show(id, 0, w) }

func (s stopped) summary(f queue.Filter) ([]queue.AgeRow, error) { return s.q.Summary(f), nil }

func found(ok bool) error {
	if ok {
		return nil
	}
	return queue.ErrNotFound
}
