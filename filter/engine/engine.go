package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/mail"
)

// Message is what an engine is asked about.
type Message struct {
	Client   *mail.Client
	Envelope *mail.Envelope
	Header   *mail.Header
	Size     int64            // octets, header section included
	Open     func() io.Reader // the whole message
}

// Answer is what an engine says, in its own words.
type Answer struct {
	Score   float64            // of all symbols
	Symbols map[string]float64 // by name; 0 where the engine does not say
}

// Asker is the protocol of an engine. Ask returns soon after ctx has ended.
type Asker interface {
	Ask(ctx context.Context, m *Message) (Answer, error)
}

// What is wrong with an engine.
var (
	ErrSuspended = errors.New("engine: not asked, because it keeps failing")
	ErrBusy      = errors.New("engine: too many messages are with it already")
	ErrReply     = errors.New("engine: its reply cannot be understood")
	ErrRefused   = errors.New("engine: it does not want to judge the message now")
)

// Address is where an engine listens.
type Address struct{ Network, Address string }

// dial connects; the end of ctx closes the connection, which ends every blocked
// read and write. Whoever dials calls stop and Close.
func (a Address) dial(ctx context.Context) (conn net.Conn, stop func(), err error) {
	conn, err = new(net.Dialer).DialContext(ctx, a.Network, a.Address)
	if err != nil {
		return nil, nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { release() }, nil
}

// New makes the Asker of a type: "rspamd", "spamassassin" or "milter".
// hostname is ours; most is what a milter's refusal scores.
func New(kind string, a Address, hostname string, most float64) (Asker, error) {
	switch kind {
	case "rspamd":
		return newRspamd(a), nil
	case "spamassassin":
		return spamd{a}, nil
	case "milter":
		return milterClient{a, hostname, most}, nil
	}
	return nil, fmt.Errorf("engine: no type %q", kind)
}

// Scale is what an engine's scores count for.
type Scale struct {
	Name   string   // of the engine
	Names  []string // the symbols of the engine's that are shown by name
	Weight float64  // its scores times this
	Cap    float64  // the most that it adds, or takes away
}

// Symbols makes an answer ours, in the order of Names.
func (s *Scale) Symbols(a Answer) []filter.Symbol {
	prefix := strings.ToUpper(s.Name) + "_"
	var out []filter.Symbol
	rest, sum := a.Score, 0.0
	add := func(name string, score float64) {
		score = math.Round(1000*score) / 1000
		out = append(out, filter.Symbol{Name: prefix + name, Score: score})
		sum += score
	}
	for _, name := range s.Names {
		if score, ok := a.Symbols[name]; ok {
			add(name, s.Weight*score)
			rest -= score
		}
	}
	if rest = math.Round(1000*s.Weight*rest) / 1000; rest != 0 {
		add("OTHER", rest)
	}
	if held := min(s.Cap, max(-s.Cap, sum)); held != sum {
		add("CAP", held-sum)
	}
	return out
}

// probe is the message that a healthy engine has an answer for.
func probe() *Message {
	const head = "From: probe@mailweir.invalid\r\nTo: probe@mailweir.invalid\r\nSubject: Are you there?\r\nMessage-ID: <probe@mailweir.invalid>\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n\r\n"
	const body = "Mailweir asks whether messages are judged.\r\n"
	now := time.Now()
	h := mail.ParseHeader([]byte(head))
	return &Message{
		Client: &mail.Client{}, Header: &h, Size: int64(len(head) + len(body)),
		Envelope: &mail.Envelope{ID: mail.NewID(now), Arrived: now, Recipients: []mail.Recipient{{Path: "probe@mailweir.invalid"}}},
		Open:     func() io.Reader { return strings.NewReader(head + body) },
	}
}
