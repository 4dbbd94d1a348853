package clamav

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	// archiveDepth is how deep our own look into archives goes; clamd should see
	// a file inside so many and one more.
	archiveDepth = 7
	// overDepth is beyond what clamd looks into by any sane MaxRecursion.
	overDepth = 40
	// limitTimeout is for one of these probes: the large ones are scanned whole.
	limitTimeout = 60 * time.Second
)

// The EICAR test file, in halves: in one piece it would make scanners cry out
// over this program.
const (
	eicarHead = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-`
	eicarTail = `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
)

func eicar() []byte { return []byte(eicarHead + eicarTail) }

// limit is one of clamd's own limits that is below ours.
type limit struct{ label, text string }

// limitLabels are the labels of the metric, in the order that they are said.
var limitLabels = []string{"stream", "scan", "recursion", "alert", "unknown"}

// findLimits asks clamd, by streams, what it does not look at. It takes some
// seconds of clamd's time, and is therefore done at the start and when the
// signatures changed, not for each message.
func (c *Client) findLimits(ctx context.Context) ([]limit, error) {
	switch v, err := c.limitProbe(ctx, bytes.NewReader(eicar())); {
	case err != nil:
		return nil, err
	case v.Clean:
		return []limit{{"unknown", "it has no signature for EICAR: what it skips cannot be found out"}}, nil
	}
	var out []limit
	for _, find := range []func(context.Context) (*limit, error){c.streamLimit, c.scanLimit, c.recursionLimit, c.alertLimit} {
		l, err := find(ctx)
		if err != nil {
			return nil, err
		}
		if l != nil {
			out = append(out, *l)
		}
	}
	return out, nil
}

// limitProbe scans apart from the mail. Over the limit is no error here.
func (c *Client) limitProbe(ctx context.Context, r io.Reader) (Verdict, error) {
	s := newStream(r)
	defer s.release()
	if err := s.fill(); err != nil {
		return Verdict{}, err
	}
	return c.exchange(ctx, s, time.Now().Add(limitTimeout))
}

// streamLimit finds StreamMaxLength when it is below the size of a message: by
// a stream of that size and one octet, then by halves.
func (c *Client) streamLimit(ctx context.Context) (*limit, error) {
	over := func(size int64) (bool, error) {
		_, err := c.limitProbe(ctx, io.LimitReader(filler{}, size+1))
		if errors.Is(err, ErrOversize) {
			return true, nil
		}
		return false, err
	}
	low, high := int64(0), c.o.MaxMessage
	if is, err := over(high); err != nil || !is {
		return nil, err
	}
	for high-low > 1<<20 {
		middle := (low + high) / 2
		is, err := over(middle)
		if err != nil {
			return nil, err
		}
		if is {
			high = middle
		} else {
			low = middle
		}
	}
	return &limit{"stream", fmt.Sprintf("StreamMaxLength is about %d MiB, below limits.message_size of %d MiB",
		(low+high)>>21, c.o.MaxMessage>>20)}, nil
}

// scanLimit tells whether clamd looks at all of a message of our size: the last
// file of an archive is EICAR.
func (c *Client) scanLimit(ctx context.Context) (*limit, error) {
	size := c.o.MaxMessage - 4096
	for ; size > 64<<10; size /= 2 { // below StreamMaxLength, whatever that is
		r, w := io.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.CloseWithError(largeArchive(w, size))
		}()
		v, err := c.limitProbe(ctx, r)
		r.Close()
		<-ended
		switch {
		case errors.Is(err, ErrOversize):
			continue
		case err != nil:
			return nil, err
		case v.Clean:
			return &limit{"scan", fmt.Sprintf("MaxScanSize or MaxFileSize is so low that the end of an archive of %d MiB passes as clean", size>>20)}, nil
		}
		break
	}
	return nil, nil
}

func largeArchive(w io.Writer, size int64) error {
	z := zip.NewWriter(w)
	for _, f := range []struct {
		name    string
		content io.Reader
	}{{"filler", io.LimitReader(filler{}, size)}, {"test.com", bytes.NewReader(eicar())}} {
		e, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Store})
		if err != nil {
			return err
		}
		if _, err := io.Copy(e, f.content); err != nil {
			return err
		}
	}
	return z.Close()
}

func (c *Client) recursionLimit(ctx context.Context) (*limit, error) {
	clean, err := c.skipsDepth(ctx, archiveDepth)
	if err != nil || !clean {
		return nil, err
	}
	return &limit{"recursion", fmt.Sprintf("MaxRecursion is so low that archives %d deep pass as clean", archiveDepth)}, nil
}

func (c *Client) alertLimit(ctx context.Context) (*limit, error) {
	clean, err := c.skipsDepth(ctx, overDepth)
	if err != nil || !clean {
		return nil, err
	}
	return &limit{"alert", "AlertExceedsMax is not set: what exceeds its limits passes as clean"}, nil
}

func (c *Client) skipsDepth(ctx context.Context, depth int) (bool, error) {
	data := eicar()
	for range depth {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		e, err := z.Create("test.zip")
		if err == nil {
			_, err = e.Write(data)
		}
		if err = errors.Join(err, z.Close()); err != nil {
			return false, err
		}
		data = b.Bytes()
	}
	v, err := c.limitProbe(ctx, bytes.NewReader(data))
	if errors.Is(err, ErrOversize) {
		return false, nil
	}
	return err == nil && v.Clean, err
}

// filler is text without end.
type filler struct{}

func (filler) Read(p []byte) (int, error) {
	const line = "Mailweir asks how much is looked at.\r\n"
	for i := range p {
		p[i] = line[i%len(line)]
	}
	return len(p), nil
}

// limitsText puts limits in words for the log and /readyz; "" for none.
func limitsText(list []limit) string {
	var out []string
	for _, l := range list {
		out = append(out, l.text)
	}
	return strings.Join(out, "; ")
}
