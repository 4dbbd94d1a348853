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
	if err := feed(s, mail.Section(tx.Content, int64(len(tx.Header.Raw)))); err != nil {
		s.Abort()
		return Report{State: Error, Cause: err}
	}
	return s.End(ctx)
}

func feed(s Stream, body mail.Content) error {
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

// streamWriter makes an io.Writer of a Stream, which has no errors.
type streamWriter struct{ s Stream }

func (w streamWriter) Write(p []byte) (int, error) {
	w.s.Write(p)
	return len(p), nil
}
