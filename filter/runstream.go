package filter

import (
	"context"
	"errors"
	"io"

	"mailweir/mail"
)

// RunStream is the Run of a Streamer: it works on a message that is complete
// already, in one piece where it lies in memory.
func RunStream(ctx context.Context, c Streamer, tx *Transaction) Report {
	s := c.Start(ctx, tx)
	if err := Feed(s, mail.Section(tx.Content, int64(len(tx.Header.Raw)))); err != nil {
		s.Abort()
		return Report{State: Error, Cause: err}
	}
	return s.End(ctx)
}

// Writer takes octets and has no errors: a Stream, a walker.
type Writer interface{ Write(p []byte) }

// Feed gives body to s, in one piece where it lies in memory.
func Feed(s Writer, body mail.Content) error {
	if b, ok := body.(mail.Bytes); ok {
		s.Write(b)
		return nil
	}
	r, err := body.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(streamWriter{s}, r)
	return errors.Join(err, r.Close())
}

// streamWriter makes an io.Writer of a Writer.
type streamWriter struct{ s Writer }

func (w streamWriter) Write(p []byte) (int, error) {
	w.s.Write(p)
	return len(p), nil
}
