package smtpd

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"time"
)

// restAfter is how long a TLS session has to be silent until it gives memory
// back.
const restAfter = 5 * time.Second

// firstWait is until when fill waits at first: a TLS session that has said
// nothing by then rests, and fill waits on until deadline.
func (c *conn) firstWait(deadline time.Time) time.Time {
	if c.nc == c.tcp {
		return deadline
	}
	if t := time.Now().Add(restAfter); t.Before(deadline) {
		return t
	}
	return deadline
}

// rest gives back what a TLS connection holds without need.
func (c *conn) rest() {
	if t, ok := c.nc.(*tls.Conn); ok {
		for _, b := range tlsBuffers(t) {
			if b.Len() == 0 {
				*b = bytes.Buffer{}
			}
		}
	}
}

// tlsBuffers are the buffers that crypto/tls reads records and handshakes into.
// It keeps them as large as the largest record was, 17 KiB and more, and has no
// word to make it let go. A crypto/tls that has them no longer has none here,
// and TestIdleMemory tells. Only who reads from t may touch them.
func tlsBuffers(t *tls.Conn) (list []*bytes.Buffer) {
	for _, name := range [...]string{"rawInput", "hand"} {
		f := reflect.ValueOf(t).Elem().FieldByName(name)
		if f.IsValid() && f.Type() == reflect.TypeFor[bytes.Buffer]() {
			list = append(list, (*bytes.Buffer)(f.Addr().UnsafePointer()))
		}
	}
	return list
}
