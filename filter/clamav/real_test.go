package clamav

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/internal/mailtest"
)

// infected is a message with EICAR as a base64 attachment.
func infected() []byte {
	var b bytes.Buffer
	b.WriteString("From: a@example.org\r\nTo: b@example.com\r\nSubject: test\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_1\"\r\n\r\n--=_1\r\nContent-Type: text/plain\r\n\r\nHello\r\n" +
		"--=_1\r\nContent-Type: application/octet-stream; name=\"x.com\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	b.WriteString(base64.StdEncoding.EncodeToString(mailtest.EICAR()))
	b.WriteString("\r\n--=_1--\r\n")
	return b.Bytes()
}

func harmless(size int) []byte {
	head := "From: a@example.org\r\nTo: b@example.com\r\nSubject: test\r\n\r\n"
	line := strings.Repeat("harmless ", 7) + "\r\n"
	return []byte(head + strings.Repeat(line, 1+size/len(line)))
}

// TestRealClamd asks the daemon itself; the order of the steps matters.
func TestRealClamd(t *testing.T) {
	d := mailtest.StartClamd(t, "StreamMaxLength 1M", "MaxThreads 4")
	c := newClient(t, Options{Address: "unix:" + d.Socket, Timeout: 10 * time.Second})
	k := NewCheck(c, nil)
	t.Run("probe", func(t *testing.T) {
		if err := c.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if v, err := c.Version(t.Context()); err != nil || !strings.HasPrefix(v, "ClamAV ") {
			t.Fatal(v, err)
		}
	})
	t.Run("verdicts", func(t *testing.T) { realVerdicts(t, c) })
	t.Run("check", func(t *testing.T) {
		j := judge(t, k, infected())
		if f := j.Facts; !f.Virus.Scanned || f.Virus.Signature != mailtest.EICARSignature ||
			names(f.Symbols) != filter.SymVirus || f.Symbols[0].Detail != mailtest.EICARSignature {
			t.Errorf("%+v, %+v", f.Virus, f.Symbols)
		}
	})
	t.Run("over its limit", func(t *testing.T) {
		for _, size := range []int{1<<20 + 1, 3 << 20, 40 << 20} {
			if v, err := c.Scan(t.Context(), bytes.NewReader(harmless(size))); !errors.Is(err, ErrOversize) || v != (Verdict{}) {
				t.Errorf("%d octets: %+v, %v", size, v, err)
			}
		}
		j := judge(t, k, append(harmless(2<<20), infected()...))
		if j.Facts.Virus.Scanned || names(j.Symbols) != filter.SymOversize {
			t.Errorf("%+v, %+v", j.Facts.Virus, j.Symbols)
		}
	})
	t.Run("stopped", func(t *testing.T) { realStopped(t, d) })
	t.Run("killed", func(t *testing.T) { realKilled(t, d) })
}

func realVerdicts(t *testing.T, c *Client) {
	for _, tt := range []struct {
		name      string
		data      []byte
		signature string
	}{
		{"empty", nil, ""},
		{"ham", harmless(4096), ""},
		{"large ham", harmless(900_000), ""},
		{"EICAR alone", mailtest.EICAR(), mailtest.EICARSignature},
		{"EICAR attached", infected(), mailtest.EICARSignature},
		{"EICAR after many chunks", append(harmless(800_000), mailtest.EICAR()...), mailtest.EICARSignature},
	} {
		v, err := c.Scan(t.Context(), bytes.NewReader(tt.data))
		if err != nil || v.Clean != (tt.signature == "") || v.Signature != tt.signature {
			t.Errorf("%s: %+v, %v", tt.name, v, err)
		}
	}
}

// realStopped: SIGSTOP in mid-scan. The kernel takes the connection and the
// first chunks; the verdict never comes. After SIGCONT it does.
func realStopped(t *testing.T, d *mailtest.Clamd) {
	c := newClient(t, Options{Address: "unix:" + d.Socket, Timeout: time.Second, ProbeTimeout: time.Second, Failures: 2})
	r, w := io.Pipe()
	end := make(chan error, 1)
	go func() {
		v, err := c.Scan(t.Context(), r)
		if v != (Verdict{}) {
			err = fmt.Errorf("a verdict: %+v", v)
		}
		end <- err
	}()
	w.Write(harmless(200_000))
	d.Stop()
	w.Write(infected())
	w.Close()
	if err := <-end; !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	// Dialled anew, a stopped daemon hangs just the same.
	if _, err := c.Scan(t.Context(), bytes.NewReader(infected())); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	if _, err := c.Scan(t.Context(), bytes.NewReader(infected())); !errors.Is(err, ErrSuspended) {
		t.Fatal(err)
	}
	d.Continue()
	recovers(t, c)
}

// recovers waits, with Run at work, until scans are answered again: 5 s.
func recovers(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { c.Run(ctx, nil); close(ran) }()
	defer func() { cancel(); <-ran }()
	for start := time.Now(); ; {
		v, err := c.Scan(ctx, bytes.NewReader(infected()))
		if err == nil && v.Signature == mailtest.EICARSignature {
			return
		}
		if time.Since(start) > 5*time.Second {
			t.Fatalf("not back after 5 s: %+v, %v", v, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// realKilled: SIGKILL in mid-scan, then a new process on the same socket.
func realKilled(t *testing.T, d *mailtest.Clamd) {
	c := newClient(t, Options{Address: "unix:" + d.Socket, Timeout: 5 * time.Second, Failures: 2})
	r, w := io.Pipe()
	end := make(chan error, 1)
	go func() {
		_, err := c.Scan(t.Context(), r)
		end <- err
	}()
	w.Write(harmless(200_000))
	d.Kill()
	// The scan ends at its next write: what the sender has still to say is
	// not read any more.
	go func() {
		w.Write(harmless(8 << 20))
		w.Close()
	}()
	if err := <-end; !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrTruncated) {
		t.Fatal(err)
	}
	r.Close()
	for range 2 {
		if _, err := c.Scan(t.Context(), bytes.NewReader(infected())); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	d.Start(t)
	recovers(t, c)
}

// TestKilledWhileScanning: the whole stream is there, and the process dies
// before the verdict.
func TestKilledWhileScanning(t *testing.T) {
	d := mailtest.StartClamd(t)
	c := newClient(t, Options{Address: "unix:" + d.Socket, Timeout: 10 * time.Second})
	d.Stop() // so that it cannot be quicker than we
	end := make(chan error, 1)
	go func() {
		_, err := c.Scan(t.Context(), bytes.NewReader(infected()))
		end <- err
	}()
	<-time.After(100 * time.Millisecond) // let the scan be written; what the test proves does not hang on it
	d.Kill()
	if err := <-end; !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrTruncated) {
		t.Fatal(err)
	}
}

// TestAlertExceedsMax: what clamd reports for an archive that it did not look
// into is a limit and not a virus.
func TestAlertExceedsMax(t *testing.T) {
	d := mailtest.StartClamd(t, "AlertExceedsMax yes", "MaxFileSize 20K", "MaxScanSize 30K")
	c := newClient(t, Options{Address: "unix:" + d.Socket})
	v, err := c.Scan(t.Context(), bytes.NewReader(harmless(100_000)))
	if !errors.Is(err, ErrOversize) || v != (Verdict{}) {
		t.Fatalf("%+v, %v", v, err)
	}
}
