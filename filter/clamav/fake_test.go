package clamav

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// fakeClamd serves each connection with serve and returns its address. It ends
// with the test, after which no connection is open any more.
func fakeClamd(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fake") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, ln, serve)
	return "unix:" + path
}

func serveOn(t testing.TB, ln net.Listener, serve func(net.Conn)) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	open := make(map[net.Conn]bool)
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// readStream plays clamd's side of INSTREAM up to the reply, and gives what was
// sent. Both forms of a command are understood: go-clamd sends n commands.
func readStream(conn net.Conn) ([]byte, error) {
	r := bufio.NewReaderSize(conn, 1<<16)
	if err := readCommand(r); err != nil {
		return nil, err
	}
	var data []byte
	for {
		var length [4]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return data, err
		}
		n := int(binary.BigEndian.Uint32(length[:]))
		if n == 0 {
			return data, nil
		}
		start := len(data)
		data = append(data, make([]byte, n)...)
		if _, err := io.ReadFull(r, data[start:]); err != nil {
			return data, err
		}
	}
}

func readCommand(r *bufio.Reader) error {
	kind, err := r.ReadByte()
	if err != nil {
		return err
	}
	delim := map[byte]byte{'z': 0, 'n': '\n'}
	end, ok := delim[kind]
	if !ok {
		return fmt.Errorf("not a command: %q", kind)
	}
	line, err := r.ReadString(end)
	if err != nil {
		return err
	}
	if line[:len(line)-1] != "INSTREAM" {
		return errors.New("not INSTREAM")
	}
	return nil
}

// answer reads a whole stream and sends a reply.
func answer(reply string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := readStream(conn); err == nil {
			io.WriteString(conn, reply)
		}
	}
}

// hang keeps a connection open until the client closes it, without reading
// more than it must to see that.
func hang(conn net.Conn) { io.Copy(io.Discard, conn) }

func newClient(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
