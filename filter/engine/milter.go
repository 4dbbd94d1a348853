package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/emersion/go-milter"

	"mailweir/mail"
)

// What a milter can want of a message, as symbols. They have no score in the
// protocol: what refuses the message counts as much as the engine may, holding
// it half of that.
const (
	milterReject     = "REJECT"
	milterDiscard    = "DISCARD"
	milterQuarantine = "QUARANTINE"
)

// MilterSymbols are what an Answer of a milter can name.
var MilterSymbols = []string{milterReject, milterDiscard, milterQuarantine}

// All that the library knows, so that a milter that wants to add a field is
// content; nothing of it is done. Without OptSkip: the library takes that answer
// for a fault.
const (
	actions  = milter.OptAddHeader | milter.OptChangeBody | milter.OptAddRcpt | milter.OptRemoveRcpt | milter.OptChangeHeader | milter.OptQuarantine | milter.OptChangeFrom
	protocol = milter.OptNoConnect | milter.OptNoHelo | milter.OptNoMailFrom | milter.OptNoRcptTo | milter.OptNoBody | milter.OptNoHeaders |
		milter.OptNoEOH | milter.OptNoUnknown | milter.OptNoData | milter.OptNoHeaderReply | milter.OptNoConnReply | milter.OptNoHeloReply |
		milter.OptNoMailReply | milter.OptNoRcptReply | milter.OptNoDataReply | milter.OptNoUnknownReply | milter.OptNoEOHReply | milter.OptNoBodyReply
	// Of them, what version 2 of the protocol has.
	oldActions, oldProtocol = actions & 0x3f, protocol & 0x7f
)

// milterClient asks by go-milter, with a connection of ours under it: docs/adr/
// 0011 says why.
type milterClient struct {
	Address
	hostname string
	most     float64 // the score of a refusal
}

// Ask implements Asker. Each message has a connection of its own.
func (c milterClient) Ask(ctx context.Context, m *Message) (Answer, error) {
	a, err := c.ask(ctx, m, actions, protocol)
	if errors.Is(err, milter.ErrUnsupportedMilterVersion) {
		a, err = c.ask(ctx, m, oldActions, oldProtocol)
	}
	return a, err
}

func (c milterClient) ask(ctx context.Context, m *Message, a milter.OptAction, p milter.OptProtocol) (Answer, error) {
	conn, stop, err := c.dial(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer stop()
	defer conn.Close() // the library leaves it open when it fails
	client := milter.NewClientWithOptions(c.Network, c.Address.Address, milter.ClientOptions{
		Dialer: dialed{&bounded{Conn: conn, left: maxReply}}, ActionMask: a, ProtocolMask: p,
	})
	s, err := client.Session()
	if err != nil {
		return Answer{}, err
	}
	answer, err := c.converse(s, m)
	if err == nil {
		s.Close() // QUIT: it has answered, whatever becomes of that
	}
	return answer, err
}

// dialed gives the library a connection that is there already.
type dialed struct{ conn net.Conn }

// Dial implements milter.Dialer.
func (d dialed) Dial(string, string) (net.Conn, error) { return d.conn, nil }

// bounded ends a milter that talks without end: the library keeps all of it.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: longer than %d octets", ErrReply, maxReply)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// converse tells the milter the message, step by step, until it has made up its
// mind.
func (c milterClient) converse(s *milter.ClientSession, m *Message) (Answer, error) {
	for _, step := range []func(*milter.ClientSession, *Message, string) (*milter.Action, error){
		sayClient, sayEnvelope, sayHeader, sayBody,
	} {
		act, err := step(s, m, c.hostname)
		if err != nil {
			return Answer{}, err
		}
		if act.Code != milter.ActContinue {
			return c.judged(act)
		}
	}
	mods, act, err := s.End()
	if err != nil {
		return Answer{}, err
	}
	for _, mod := range mods {
		if mod.Code == milter.ActQuarantine {
			return wants(milterQuarantine, c.most/2), nil
		}
	}
	return c.judged(act)
}

// judged is what an action says of the message.
func (c milterClient) judged(act *milter.Action) (Answer, error) {
	switch {
	case act.Code == milter.ActAccept, act.Code == milter.ActContinue:
		return Answer{}, nil
	case act.Code == milter.ActReject, act.Code == milter.ActReplyCode && act.SMTPCode >= 500:
		return wants(milterReject, c.most), nil
	case act.Code == milter.ActDiscard:
		return wants(milterDiscard, c.most), nil
	case act.Code == milter.ActTempFail, act.Code == milter.ActReplyCode:
		return Answer{}, fmt.Errorf("%w: it says to try again later", ErrRefused)
	}
	return Answer{}, fmt.Errorf("%w: action %q", ErrReply, byte(act.Code))
}

func wants(name string, score float64) Answer {
	return Answer{Score: score, Symbols: map[string]float64{name: score}}
}

func sayClient(s *milter.ClientSession, m *Message, hostname string) (*milter.Action, error) {
	if err := s.Macros(milter.CodeConn, "j", hostname, "{daemon_name}", "mailweir", "{client_addr}", address(m.Client)); err != nil {
		return nil, err
	}
	family, name := milter.FamilyUnknown, m.Client.Name
	if m.Client.Addr.Is4() {
		family = milter.FamilyInet
	} else if m.Client.Addr.IsValid() {
		family = milter.FamilyInet6
	}
	if name == "" {
		name = "[" + address(m.Client) + "]"
	}
	act, err := s.Conn(name, family, m.Client.Port, address(m.Client))
	if err != nil || act.Code != milter.ActContinue {
		return act, err
	}
	return s.Helo(m.Client.Helo)
}

func sayEnvelope(s *milter.ClientSession, m *Message, _ string) (*milter.Action, error) {
	macros := []string{"i", m.Envelope.ID.String()}
	if m.Client.User != "" {
		macros = append(macros, "{auth_authen}", m.Client.User)
	}
	if err := s.Macros(milter.CodeMail, macros...); err != nil {
		return nil, err
	}
	act, err := s.Mail(string(m.Envelope.ReversePath), nil)
	if err != nil || act.Code != milter.ActContinue {
		return act, err
	}
	taken := 0
	for _, r := range m.Envelope.Recipients {
		if act, err = s.Rcpt(string(r.Path), nil); err != nil {
			return nil, err
		}
		if act.Code == milter.ActContinue || act.Code == milter.ActAccept {
			taken++
		}
	}
	if taken > 0 { // what it thinks of one recipient is not about the message
		act = &milter.Action{Code: milter.ActContinue}
	}
	return act, nil
}

func sayHeader(s *milter.ClientSession, m *Message, _ string) (*milter.Action, error) {
	for _, f := range m.Header.Fields {
		if f.Name() == "" {
			continue
		}
		act, err := s.HeaderField(f.Name(), milterValue(f))
		if err != nil || act.Code != milter.ActContinue {
			return act, err
		}
	}
	return s.HeaderEnd()
}

// milterValue is a field's body as the protocol has it: folded by LF alone,
// without the space that follows the colon.
func milterValue(f mail.Field) string {
	v := strings.TrimSuffix(strings.ReplaceAll(string(f.Body()), "\r\n", "\n"), "\n")
	return strings.ReplaceAll(strings.TrimPrefix(v, " "), "\x00", "")
}

func sayBody(s *milter.ClientSession, m *Message, _ string) (*milter.Action, error) {
	r := io.LimitReader(m.Open(), m.Size)
	if _, err := io.CopyN(io.Discard, r, int64(len(m.Header.Raw))); err != nil {
		return nil, err
	}
	buf := make([]byte, milter.MaxBodyChunk)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			act, err := s.BodyChunk(buf[:n])
			if err != nil || act.Code != milter.ActContinue {
				return act, err
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return &milter.Action{Code: milter.ActContinue}, nil
		default:
			return nil, err
		}
	}
}
