package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// scannerFault is what a proxy before the real clamd does to one connection.
// nil passes all through.
type scannerFault struct {
	up, down func(w io.Writer, r io.Reader)
}

// scannerProxy stands between the gateway and clamd.
type scannerProxy struct {
	ln     net.Listener
	clamd  string
	fault  atomic.Pointer[scannerFault]
	closed chan struct{} // a late reply comes when the test ends
	group  sync.WaitGroup
}

func startScannerProxy(t *testing.T, socket, clamd string) *scannerProxy {
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	p := &scannerProxy{ln: ln, clamd: clamd, closed: make(chan struct{})}
	p.fault.Store(&scannerFault{})
	p.group.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		close(p.closed)
		ln.Close()
		p.group.Wait()
	})
	return p
}

func (p *scannerProxy) serve(conn net.Conn) {
	defer conn.Close()
	clamd, err := net.Dial("unix", p.clamd)
	if err != nil {
		return
	}
	defer clamd.Close()
	f := p.fault.Load()
	p.group.Go(func() {
		defer clamd.(*net.UnixConn).CloseWrite()
		if f.up != nil {
			f.up(clamd, conn)
		}
		io.Copy(clamd, conn)
	})
	if f.down != nil {
		f.down(conn, clamd)
		return
	}
	io.Copy(conn, clamd)
}

// lengthOff passes a stream on whose first chunk says that it has n octets more
// than it has.
func lengthOff(n int) func(io.Writer, io.Reader) {
	return func(w io.Writer, r io.Reader) {
		head := make([]byte, len("zINSTREAM\x00")+4)
		k, _ := io.ReadFull(r, head)
		if k == len(head) {
			at := head[k-4:]
			binary.BigEndian.PutUint32(at, uint32(int(binary.BigEndian.Uint32(at))+n))
		}
		w.Write(head[:k])
	}
}

// reply is a fault in what clamd says.
func reply(change func(w io.Writer, said []byte)) scannerFault {
	return scannerFault{down: func(w io.Writer, r io.Reader) {
		said, _ := io.ReadAll(r)
		change(w, said)
	}}
}

// TestScannerProxy: the real clamd behind a line that delays, garbles or cuts
// what is said on it. Nothing passes unscanned, and mail flows within 5 s when
// the line is good again.
func TestScannerProxy(t *testing.T) {
	t.Parallel()
	clamd := mailtest.StartClamd(t)
	for name, fault := range map[string]func(p *scannerProxy) scannerFault{
		"late": func(p *scannerProxy) scannerFault {
			return reply(func(w io.Writer, said []byte) { <-p.closed; w.Write(said) })
		},
		"garbled": func(*scannerProxy) scannerFault {
			return reply(func(w io.Writer, said []byte) {
				for i := range said {
					said[i] ^= 0x20
				}
				w.Write(said)
			})
		},
		"cut": func(*scannerProxy) scannerFault {
			return reply(func(w io.Writer, said []byte) { w.Write(said[:min(len(said), 8)]) })
		},
		"cut before the NUL": func(*scannerProxy) scannerFault {
			return reply(func(w io.Writer, said []byte) { w.Write(said[:max(len(said)-1, 0)]) })
		},
		"length too long":  func(*scannerProxy) scannerFault { return scannerFault{up: lengthOff(1)} },
		"length too short": func(*scannerProxy) scannerFault { return scannerFault{up: lengthOff(-1)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := newWorld(t, dir)
			socket := filepath.Join(dir, "s")
			proxy := startScannerProxy(t, socket, clamd.Socket)
			w.names["Clamd"] = socket
			// A scanner that got a wrong length may complain about the size.
			w.write("gateway.toml", plainConfig+"\n[clamav]\naddress = \"unix:{{.Clamd}}\"\non_oversize = \"reject\"\n")
			w.start()
			verdicts(t, w, "250 ", "554 ")
			f := fault(proxy)
			proxy.fault.Store(&f)
			verdicts(t, w, "451 4.7.1", "451 4.7.1", "55")
			proxy.fault.Store(&scannerFault{})
			start := time.Now()
			waitFor(t, func() bool { return strings.HasPrefix(postText(w, smallMessage), "250 ") })
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("mail flows again after %v", took)
			}
			verdicts(t, w, "250 ", "554 ")
			if got, err := w.sinks["Sink"].wait(3, patience); err != nil || len(got) != 3 {
				t.Errorf("%d messages passed, want 3: %v", len(got), err)
			}
		})
	}
}

// TestScannerInPieces: a reply that comes octet by octet is a reply.
func TestScannerInPieces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(t, dir)
	proxy := startScannerProxy(t, filepath.Join(dir, "s"), mailtest.StartClamd(t).Socket)
	f := reply(func(w io.Writer, said []byte) {
		for i := range said {
			w.Write(said[i : i+1])
		}
	})
	proxy.fault.Store(&f)
	w.names["Clamd"] = filepath.Join(dir, "s")
	w.write("gateway.toml", plainConfig+"\n[clamav]\naddress = \"unix:{{.Clamd}}\"\n")
	w.start()
	verdicts(t, w, "250 ", "554 ")
	if _, err := w.sinks["Sink"].wait(1, patience); err != nil {
		t.Error(err)
	}
}

// verdicts posts ham and EICAR at once, and compares the replies; a reply may
// begin in one of several ways, the last two being for EICAR and both.
func verdicts(t *testing.T, w *world, ham, virus string, both ...string) {
	t.Helper()
	virusText := strings.Replace(smallMessage, "\r\n\r\n", "\r\n\r\n"+string(mailtest.EICAR())+"\r\n", 1)
	var got [2]string
	var group sync.WaitGroup
	for i, text := range []string{smallMessage, virusText} {
		group.Go(func() { got[i] = postText(w, text) })
	}
	group.Wait()
	for i, want := range []string{ham, virus} {
		ok := strings.HasPrefix(got[i], want)
		for _, also := range both {
			ok = ok || strings.HasPrefix(got[i], also)
		}
		if !ok {
			t.Errorf("message %d: %s, want %s", i, got[i], want)
		}
	}
}

func postText(w *world, text string) string {
	lines, _, err := w.post(&letter{listen: "Listen", helo: "client.example", from: "alice@sender.example",
		to: []string{"bob@example.org"}, msg: []byte(text)})
	if err != nil {
		return err.Error()
	}
	return lines
}

// TestPartsAreScannedOnTheWay: a message of 10 MB has five parts, and clamd takes
// half a second for each stream. The first four are scanned before the final dot
// comes; one after the other behind it, all would take three seconds.
func TestPartsAreScannedOnTheWay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(t, dir)
	proxy := startScannerProxy(t, filepath.Join(dir, "s"), mailtest.StartClamd(t).Socket)
	f := reply(func(w io.Writer, said []byte) {
		select {
		case <-time.After(500 * time.Millisecond):
		case <-proxy.closed:
		}
		w.Write(said)
	})
	proxy.fault.Store(&f)
	w.names["Clamd"] = filepath.Join(dir, "s")
	w.write("gateway.toml", plainConfig+"\n[clamav]\naddress = \"unix:{{.Clamd}}\"\n")
	w.start()
	c := w.hello(t)
	for _, command := range []string{"MAIL FROM:<alice@sender.example>", "RCPT TO:<bob@example.org>", "DATA"} {
		if reply, err := c.do("%s", command); err != nil || reply[0] == '5' {
			t.Fatal(reply, err)
		}
	}
	c.out.WriteString("From: alice@sender.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
	for i := range 5 {
		fmt.Fprintf(&c.out, "--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n",
			wrap(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i), 2, 3}, 500_000)), 76))
		if err := c.flush(); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool {
		families, err := w.gw.scrape()
		return err == nil && sumOf(families, "mailweir_clamav_scans_total", map[string]string{"result": "clean"}) >= 4
	})
	start := time.Now()
	c.out.WriteString("--b--\r\n.\r\n")
	if err := c.expect("250 2.0.0 Ok: queued as {ID}"); err != nil {
		t.Error(err)
	}
	t.Log("after the dot: ", time.Since(start).Round(time.Millisecond))
	if _, err := w.sinks["Sink"].wait(1, patience); err != nil {
		t.Error(err)
	}
}
