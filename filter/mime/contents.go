package mime

import (
	"fmt"
	"io"

	"mailweir/mail"
)

const (
	maxWaiting = 64 << 10 // octets of one content that wait until it is asked for
	maxQueued  = 1 << 20  // of all together
	maxPasses  = 8        // over the message, for contents that had to wait longer
	pumpPiece  = 32 << 10
)

// Contents gives the decoded contents of one message one after the other: the
// parts of the plain reading, then, where the message is ambiguous, those of all
// other readings. It pulls the message and holds little of it: of contents that
// arrive side by side and do not fit, one is given on and the others come from
// another pass over the message.
type Contents struct {
	header *mail.Header
	open   func() io.Reader

	src   io.Reader // of this pass; nil between passes
	feed  feeder
	stage int // 0 the plain reading, 1 the others, 2 the end
	pass  int
	left  int // of MaxReread, for the next pass
	buf   []byte

	queue  []*piece
	now    *piece // that was handed out last
	next   int    // number of the next content that begins
	done   map[int]bool
	queued int
	missed bool
	limits Ambiguities
}

type feeder interface {
	Write(p []byte)
	Close()
}

// NewContents begins with a message whose header section is h. open gives its
// body from the first octet on, as often as it is asked.
func NewContents(h *mail.Header, open func() io.Reader) *Contents {
	return &Contents{header: h, open: open, done: map[int]bool{}}
}

// Next ends the content that was given before and gives the next one that is not
// empty, and words for what it is; nil after the last one. It fails with what a
// read of the message fails with.
func (c *Contents) Next() (io.Reader, string, error) {
	if c.now != nil {
		c.now.drop()
		c.now = nil
	}
	for {
		if p := c.ready(); p != nil {
			c.now = p
			c.queued -= len(p.buf)
			return p, p.where, nil
		}
		if c.stage == 2 {
			return nil, "", nil
		}
		if err := c.pump(); err != nil {
			return nil, "", err
		}
	}
}

// Incomplete says why the contents that Next gave are not all; "" when they are.
func (c *Contents) Incomplete() string {
	if list := c.limits.List(); len(list) > 0 {
		return fmt.Sprint("more structure than is looked at: ", list[0])
	}
	return ""
}

// ready takes the first content out of the queue that is complete, or longer
// than may wait.
func (c *Contents) ready() *piece {
	for i := 0; i < len(c.queue); i++ {
		p := c.queue[i]
		if p.missed || p.ended && len(p.buf) == 0 {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			i--
			continue
		}
		if p.ended || len(p.buf) >= maxWaiting {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			c.done[p.number] = true
			return p
		}
	}
	return nil
}

// pump moves the message on by one piece, or to the next pass.
func (c *Contents) pump() error {
	if c.src == nil {
		c.start()
		if _, err := io.CopyN(io.Discard, c.src, int64(len(c.header.Raw))); err != nil && err != io.EOF {
			return err
		}
	}
	n, err := c.src.Read(c.buf)
	c.feed.Write(c.buf[:n])
	switch {
	case err == io.EOF:
		c.feed.Close()
		c.finish()
	case err != nil:
		return err
	}
	return nil
}

func (c *Contents) start() {
	if c.buf == nil {
		c.buf = make([]byte, pumpPiece)
	}
	c.src, c.next, c.missed = c.open(), 0, false
	if c.stage == 0 {
		c.feed = NewWalker(c.header, nil, c)
	} else {
		r := NewReadings(c.header, c)
		if c.pass > 0 {
			r.left = c.left // all passes share it
		}
		c.feed = r
	}
}

// finish ends a pass: another one follows for what it missed, then comes the
// next stage.
func (c *Contents) finish() {
	c.src = nil
	var odd Ambiguities
	switch w := c.feed.(type) {
	case *Walker:
		odd = w.Odd
	case *Readings:
		odd, c.left = w.Odd, w.left
	}
	c.limits |= odd & limits
	c.pass++
	if c.missed && c.pass < maxPasses && c.limits == 0 {
		return
	}
	if c.missed {
		c.limits.Add(LimitReadings)
	}
	c.stage++
	if c.stage == 1 && odd == 0 {
		c.stage = 2
	}
	c.pass = 0
	clear(c.done)
}

// Begin implements Taker.
func (c *Contents) Begin(l *Leaf) Content {
	number := c.next
	c.next++
	if c.done[number] {
		return nil
	}
	where := l.Type
	if l.Name != "" {
		where += " " + l.Name
	}
	if l.Reading != "" {
		where += " (read as " + l.Reading + ")"
	}
	p := &piece{c: c, number: number, where: where}
	c.queue = append(c.queue, p)
	return p
}

// piece is one content, of which buf has arrived and was not read yet.
type piece struct {
	c             *Contents
	number        int
	where         string
	buf           []byte
	ended, missed bool
}

// Write implements Content.
func (p *piece) Write(b []byte) bool {
	if p.missed {
		return false
	}
	if p != p.c.now {
		if len(p.buf)+len(b) > maxWaiting+pumpPiece || p.c.queued+len(b) > maxQueued {
			p.c.queued -= len(p.buf)
			p.c.missed, p.missed, p.buf = true, true, nil
			return false
		}
		p.c.queued += len(b)
	}
	p.buf = append(p.buf, b...)
	return true
}

// End implements Content.
func (p *piece) End() { p.ended = true }

// drop ends a content of which not all was read.
func (p *piece) drop() { p.missed, p.buf = true, nil }

// Read implements io.Reader.
func (p *piece) Read(b []byte) (int, error) {
	for len(p.buf) == 0 {
		if p.ended {
			return 0, io.EOF
		}
		if err := p.c.pump(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.buf)
	p.buf = p.buf[:copy(p.buf, p.buf[n:])]
	return n, nil
}
