package queue

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// A message of our own is as durable as any, large ones too; it counts as
// generated, and when it fails under NOTIFY=NEVER nobody hears of it.
func TestGenerate(t *testing.T) {
	dir, o := t.TempDir(), Options{SpillAt: 8 << 10}
	q := mustOpen(t, fsx.OS{}, dir, o)
	want := map[mail.ID][]byte{}
	for _, size := range []int{0, 100, 100 << 10} {
		now := time.Now()
		env := &mail.Envelope{
			ID: mail.NewID(now), Arrived: now, ReversePath: "reports@example.org",
			Recipients: []mail.Recipient{{Path: "a@d.example", Notify: mail.NotifyNever}},
		}
		head, body := []byte("Subject: report\r\n\r\n"), bytes.Repeat([]byte("x"), size)
		if err := q.Generate(env, head, body); err != nil {
			t.Fatal(err)
		}
		want[env.ID] = append(head, body...)
	}
	if l := q.Stats().Ledger; l.Generated != 3 || l.Accepted != 0 || l.Imbalance() != 0 {
		t.Errorf("ledger %+v", l)
	}
	mustClose(t, q)
	q = mustOpen(t, fsx.OS{}, dir, o)
	for id, text := range want {
		var got strings.Builder
		if err := q.Show(id, 0, &got); err != nil || !strings.HasSuffix(got.String(), string(text)) {
			t.Errorf("%d octets: %v", got.Len(), err)
		}
	}
	n := newNext()
	n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome {
		return mail.Outcome{Result: mail.Failed, Reply: mail.Reply{Code: 550, Text: "no"}}
	}
	run(t, q, n, func() bool { l := q.Stats().Ledger; return l.Failed == 3 })
	if l := q.Stats().Ledger; l.Generated != 0 || l.Imbalance() != 0 {
		t.Errorf("after the failure %+v", l)
	}
	mustClose(t, q)
	if err := q.Generate(&mail.Envelope{ID: mail.NewID(time.Now()), Recipients: []mail.Recipient{{Path: "a@d.example"}}}, []byte("\r\n"), nil); err == nil {
		t.Error("a closed queue took it")
	}
}

// A recipient that a rule named counts as generated, and one that it gave a next
// hop goes there, after a restart, too.
func TestRecipientsOfRules(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, fsx.OS{}, dir, Options{})
	i, err := q.Begin(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	err = i.Commit(t.Context(), &mail.Message{
		Envelope: mail.Envelope{ID: mail.NewID(time.Now()), ReversePath: "s@sender.example", Recipients: []mail.Recipient{
			{Path: "a@d.example", NextHop: "team.example:2525"},
			{Path: "b@d.example"},
			{Path: "copy@d.example", Generated: true},
		}},
		Heads: [][]byte{[]byte("\r\n")}, Body: i.Content(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if l := q.Stats().Ledger; l.Accepted != 2 || l.Generated != 1 || l.Imbalance() != 0 {
		t.Errorf("ledger %+v", l)
	}
	mustClose(t, q)
	q = mustOpen(t, fsx.OS{}, dir, Options{})
	defer mustClose(t, q)
	if got := q.Reroutes(); len(got) != 1 || got[0] != "team.example:2525" {
		t.Errorf("reroutes %v", got)
	}
	n := newNext()
	where := map[string]int{}
	n.reply = func(d mail.Destination, m *mail.Message, rcpt int) mail.Outcome {
		where[string(m.Envelope.Recipients[rcpt].Path)+" by "+string(d)]++
		return mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
	}
	run(t, q, n, func() bool { return q.Stats().Ledger.Relayed == 3 })
	for _, want := range []string{"a@d.example by team.example:2525", "b@d.example by d.example", "copy@d.example by d.example"} {
		if where[want] != 1 {
			t.Errorf("not %s: %v", want, where)
		}
	}
}
