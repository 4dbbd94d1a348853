package queue

import (
	"strings"
	"testing"
	"time"

	"mailweir/mail"
)

// Every kind of wait, as it comes about.
func TestWhy(t *testing.T) {
	timed(t, Options{PerDestination: 2}, func(t *testing.T, q *Queue) {
		n := newNext()
		n.block = make(chan struct{})
		n.reply = func(d mail.Destination, _ *mail.Message, _ int) mail.Outcome {
			switch d {
			case "later.example":
				return deferral("come back")
			case "dead.example":
				return unreachable()
			}
			return mail.Outcome{Result: mail.Relayed}
		}
		held := newMessage(nil, "h@busy.example")
		held.Envelope.Recipients[0].Hold = "quarantine:GTUBE"
		if err := put(q, held, []byte("x\r\n")); err != nil {
			t.Fatal(err)
		}
		busy := [4]mail.ID{}
		for i := range busy {
			busy[i] = mustPut(t, q, []byte("x\r\n"), "b@busy.example")
		}
		step, probed := 0, mail.ID{}
		var later mail.ID
		run(t, q, n, func() bool {
			time.Sleep(time.Second)
			switch step++; step {
			case 1:
				expectWhy(t, q, busy[0], LimitActive, "being relayed to busy.example")
				expectWhy(t, q, busy[3], LimitConcurrency, "busy.example gets 2 messages at a time at present, and 1 with their turn before it")
				expectWhy(t, q, held.Envelope.ID, LimitHeld, "in quarantine because of GTUBE; `queue release` relays it", "(in 30 days)")
				close(n.block)
			case 2:
				later = mustPut(t, q, []byte("x\r\n"), "l@later.example", "m@later.example")
				for range 4 {
					probed = mustPut(t, q, []byte("x\r\n"), "d@dead.example")
				}
			case 4:
				w := expectWhy(t, q, later, LimitSchedule, "attempt 2 is made at", "the last one ended with: 451 4.3.0 come back (mx.example.net:25)", "it is tried until")
				if len(w.Waits) != 1 || len(w.Waits[0].Recipients) != 2 || w.Waits[0].NextAttempt == nil {
					t.Errorf("%+v", w)
				}
				expectWhy(t, q, probed, LimitProbe, "dead.example could not be reached", "one probe at a time", "connection refused")
				if it, _ := q.Get(probed); it.Attempts != 0 || it.Reason != "connection refused" {
					t.Errorf("what waits for a probe, and was never tried: %+v", it)
				}
			}
			return step == 5
		})
		expectWhy(t, q, later, LimitStopped, "deliveries are stopped", "attempt 2 is made at")
		if _, ok := q.Why(busy[0]); ok {
			t.Error("a message that left is still explained")
		}
	})
}

func expectWhy(t *testing.T, q *Queue, id mail.ID, limit Limit, parts ...string) Why {
	t.Helper()
	w, ok := q.Why(id)
	if !ok || len(w.Waits) == 0 {
		t.Errorf("%s is not explained", limit)
		return w
	}
	got := w.Waits[0]
	if got.Limit != limit {
		t.Errorf("limit %s, want %s: %s", got.Limit, limit, got.Text)
	}
	for _, p := range parts {
		if !strings.Contains(got.Text, p) {
			t.Errorf("%s: %q lacks %q", limit, got.Text, p)
		}
	}
	return w
}

// Held mail is explained by its reason.
func TestWhyHeld(t *testing.T) {
	now := time.Unix(1e9, 0)
	until := now.Add(90 * time.Minute)
	for _, tc := range []struct{ hold, reply, want string }{
		{"mixed", "", "it is held: this recipient's policy refuses"},
		{"admin", "", "it is held by an admin;"},
		{"undeliverable", "550 no", "it failed (550 no), and its sender is not proven"},
		{"undeliverable", "", "no route to its recipient"},
		{"damaged", "", "it is held: a part of it could not be read back"},
		{"crash", "", "it is held: the process crashed each time that it was handled, 3 times in a row;"},
		{"other", "", "it is held: other;"},
	} {
		w := Wait{Limit: LimitHeld, Hold: tc.hold, Reply: tc.reply, Until: &until}
		text := w.sentence(now)
		if !strings.Contains(text, tc.want) || !strings.HasSuffix(text, "deleted at 2001-09-09 03:16:40 UTC (in 90 min)") {
			t.Errorf("%s: %q", tc.hold, text)
		}
	}
}
