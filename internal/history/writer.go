package history

import (
	"bytes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"mailweir/internal/daykey"
	"mailweir/internal/jsonx"
)

// writer is the one goroutine that encodes and writes. Nothing else touches it.
type writer struct {
	l        *Log
	buf      bytes.Buffer // whole lines of one day
	day      day
	number   int64       // of the day since 1970: quicker to compare than a name is to make
	aead     cipher.AEAD // of the day; nil: entries lie in clear
	entries  int         // lines in buf
	enc      *json.Encoder
	flushing *time.Timer // armed while something waits
	midnight *time.Timer

	plain, sealed []byte // scratch

	lost     int // since the last complaint
	lastLoss error
	complain time.Time // no earlier than this
}

func newWriter(l *Log) *writer {
	w := &writer{l: l, flushing: time.NewTimer(time.Hour), midnight: time.NewTimer(time.Hour)}
	w.flushing.Stop()
	w.enc = json.NewEncoder(&w.buf)
	w.enc.SetEscapeHTML(false) // subjects stay legible; nothing here is put into a page
	return w
}

// run ends when the queue is closed and empty. It lets entries gather in the
// queue: a goroutine that is woken up for each costs more than its work.
func (w *writer) run() {
	w.expire()
	for {
		select {
		case <-w.l.wake:
			if len(w.l.in) < gather {
				w.flushing.Reset(flushEvery)
				continue
			}
		case <-w.flushing.C:
		case <-w.l.ending:
		case <-w.midnight.C:
			w.expire()
			continue
		}
		w.l.awake.Store(false) // before the drain: what comes now wakes us again
		if !w.drain() {
			w.complain = time.Time{} // what is lost by now would not be said later
			w.flush()
			return
		}
		w.flush()
	}
}

// drain encodes all that waits; false when there will be no more.
func (w *writer) drain() bool {
	for {
		select {
		case e, ok := <-w.l.in:
			if !ok {
				return false
			}
			w.add(e)
		default:
			return true
		}
	}
}

// add encodes an entry into the buffer, which goes out when it is large enough.
func (w *writer) add(e entry) {
	if e.synced != nil {
		w.flush()
		close(e.synced)
		return
	}
	if w.day == "" || e.at.Unix()/secondsPerDay != w.number {
		w.flush()
		if err := w.turn(e.at); err != nil {
			w.drop(lostWrite, 1, err) // never in clear instead
			return
		}
	}
	if err := w.encode(e); err != nil {
		w.drop(lostEncode, 1, err)
		return
	}
	if w.entries++; w.buf.Len() >= flushBytes {
		w.flush()
	}
}

// turn begins a day.
func (w *writer) turn(at time.Time) error {
	if w.l.keys != nil {
		key, err := w.l.keys.Make(at)
		if err != nil {
			return err
		}
		w.aead = daykey.AEAD(key)
	}
	w.day, w.number = dayOf(at), at.Unix()/secondsPerDay
	return nil
}

// encode appends one line to buf, or nothing.
func (w *writer) encode(e entry) error {
	start := w.buf.Len()
	b := w.buf.AvailableBuffer()
	b = append(b, linePrefix...)
	b = e.id.AppendTo(b)
	b = append(b, `","kind":`...)
	b = jsonx.AppendString(b, e.kind)
	b = append(b, `,"at":"`...)
	b = jsonx.AppendTime(b, e.at.UTC())
	b = append(b, '"')
	head := start + len(b)
	b = append(b, clearData...)
	data := start + len(b)
	if v, ok := e.v.(jsonx.Appender); ok {
		w.buf.Write(v.AppendJSON(b))
	} else {
		w.buf.Write(b)
		if err := w.enc.Encode(e.v); err != nil {
			w.buf.Truncate(start)
			return err
		}
		w.buf.Truncate(w.buf.Len() - 1) // the encoder's newline
	}
	if w.buf.Len()-data > maxEntry {
		w.buf.Truncate(data)
		w.buf.WriteString("null")
		w.l.counters.cut.Inc()
	}
	if w.aead != nil {
		w.seal(start, head)
	}
	w.buf.WriteString("}\n")
	return nil
}

// flush appends the buffer to the file of its day. What the disk does not take
// is gone: keeping it would only lose what comes after it.
func (w *writer) flush() {
	if w.entries > 0 {
		n, err := w.write()
		missing := bytes.Count(w.buf.Bytes()[n:], newline)
		w.l.counters.written.Add(float64(w.entries - missing))
		w.l.counters.bytes.Add(float64(n))
		if err != nil {
			w.drop(w.reason(err), missing, err)
		}
	}
	w.complainOnce()
	w.entries = 0
	w.buf.Reset()
	if w.buf.Cap() > 2*(flushBytes+maxEntry) {
		w.plain, w.sealed = nil, nil
		w.buf = bytes.Buffer{} // a giant entry does not keep its memory
		w.enc = json.NewEncoder(&w.buf)
		w.enc.SetEscapeHTML(false)
	}
}

// write reports how much of the buffer the file took. The file is opened for
// each flush: once a second that costs nothing, and it survives an admin who
// moves or deletes files.
func (w *writer) write() (n int, err error) {
	f, err := os.OpenFile(filepath.Join(w.l.dir, w.day.file()), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	size, err := mendTail(f)
	if err != nil {
		return 0, err
	}
	if size+int64(w.buf.Len()) > w.l.maxDay {
		return 0, errDayFull
	}
	return f.Write(w.buf.Bytes())
}

// errBacklog is the loss of what came faster than it could be written.
var errBacklog = errors.New("history: too many entries wait to be written")

// errDayFull is the loss at MaxDayBytes.
var errDayFull = fmt.Errorf("history: the file of the day has reached its limit of %d bytes", int64(MaxDayBytes))

func (w *writer) reason(err error) string {
	if err == errDayFull {
		return lostDay
	}
	return lostWrite
}

// mendTail ends a line that a crash or a full disk cut short, so that the next
// one does not become part of it, and gives the file's size.
func mendTail(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], st.Size()-1); err != nil && err != io.EOF {
		return 0, err
	}
	if last[0] != '\n' {
		_, err = f.Write(newline)
	}
	return st.Size(), err
}

var newline = []byte("\n")

// drop counts entries that are lost, and remembers to say so.
func (w *writer) drop(reason string, n int, err error) {
	w.l.counters.lost[reason].Add(float64(n))
	w.lost += n
	w.lastLoss = err
}

// complainOnce logs losses, once a minute at most: a broken disk must not fill
// the log as well.
func (w *writer) complainOnce() {
	if n := int(w.l.overflow.Swap(0)); n > 0 {
		w.lost, w.lastLoss = w.lost+n, errBacklog
	}
	now := time.Now()
	if w.lost == 0 || now.Before(w.complain) {
		return
	}
	w.l.log.Error("history entries are lost; mail is not affected",
		"entries", w.lost, "directory", w.l.dir, "error", w.lastLoss)
	w.lost, w.lastLoss, w.complain = 0, nil, now.Add(complainEvery)
}
