package engine

import (
	"errors"
	"math"
	"slices"
	"testing"

	"mailweir/filter"
)

func TestReadRspamd(t *testing.T) {
	a, err := readRspamd([]byte(`{"is_skipped":false,"score":5.5,"action":"no action","symbols":{"A":{"name":"A","score":6.0},"B":{"score":-0.5}}}`))
	if err != nil || a.Score != 5.5 || a.Symbols["A"] != 6 || a.Symbols["B"] != -0.5 {
		t.Errorf("%+v, %v", a, err)
	}
	for body, want := range map[string]error{
		"": ErrReply, "<html>": ErrReply, "{}": ErrReply, `{"score":"5"}`: ErrReply, `{"error":"x"}`: ErrReply, `[]`: ErrReply,
		`{"is_skipped":true,"score":0}`: ErrRefused,
	} {
		if _, err := readRspamd([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
}

func TestReadSpamd(t *testing.T) {
	a, err := readSpamd("SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nSpam: True ; 15.2 / 5.0\r\n\r\nA,B_C\r\n")
	if err != nil || a.Score != 15.2 || len(a.Symbols) != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	for reply, want := range map[string]error{
		"":                                 ErrReply,
		"SPAMD/1.1 0 EX_OK\r\nSpam: ":      ErrReply, // cut short
		"SPAMD/1.1 0 EX_OK\r\n\r\nA":       ErrReply, // no score: nothing means clean
		"HTTP/1.1 400 Bad\r\n\r\n":         ErrReply,
		"SPAMD/1.0 76 Bad header line":     ErrReply,
		"SPAMD/1.1 75 EX_TEMPFAIL\r\n\r\n": ErrRefused,
		"SPAMD/1.1 0 EX_OK\r\nSpam: False ; NaN / 5\r\n\r\n":     ErrReply,
		"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1e999 / 5\r\n\r\n":   ErrReply,
		"SPAMD/1.1 0 EX_OK\r\nSpam: False\r\n\r\n":               ErrReply,
		"SPAMD/1.1 0 EX_OK\r\nX-Spam: True ; 15.2 / 5.0\r\n\r\n": ErrReply,
	} {
		if _, err := readSpamd(reply); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", reply, err, want)
		}
	}
}

func TestScale(t *testing.T) {
	for name, c := range map[string]struct {
		weight, cap float64
		a           Answer
		want        []filter.Symbol
	}{
		"named and others":   {1, 10, Answer{5, map[string]float64{"A": 3, "X": 2.5, "Y": -0.5}}, []filter.Symbol{{Name: "E_A", Score: 3}, {Name: "E_OTHER", Score: 2}}},
		"the config's order": {1, 10, Answer{3, map[string]float64{"B": 1, "A": 2}}, []filter.Symbol{{Name: "E_A", Score: 2}, {Name: "E_B", Score: 1}}},
		"weight":             {0.5, 10, Answer{5, map[string]float64{"A": 3}}, []filter.Symbol{{Name: "E_A", Score: 1.5}, {Name: "E_OTHER", Score: 1}}},
		"cap":                {1, 4, Answer{9, map[string]float64{"A": 3}}, []filter.Symbol{{Name: "E_A", Score: 3}, {Name: "E_OTHER", Score: 6}, {Name: "E_CAP", Score: -5}}},
		"cap below":          {1, 4, Answer{-9, nil}, []filter.Symbol{{Name: "E_OTHER", Score: -9}, {Name: "E_CAP", Score: 5}}},
		"no scores":          {1, 10, Answer{6, map[string]float64{"A": 0, "Z": 0}}, []filter.Symbol{{Name: "E_A"}, {Name: "E_OTHER", Score: 6}}},
		"nothing":            {1, 10, Answer{}, nil},
	} {
		s := Scale{Name: "e", Names: []string{"A", "B"}, Weight: c.weight, Cap: c.cap}
		if got := s.Symbols(c.a); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func FuzzReplies(f *testing.F) {
	f.Add("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.2 / 5.0\r\n\r\nA,B_C\r\n")
	f.Add(`{"score":5.5,"symbols":{"A":{"score":6.0}}}`)
	f.Fuzz(func(t *testing.T, reply string) {
		for _, read := range []func(string) (Answer, error){readSpamd, func(s string) (Answer, error) { return readRspamd([]byte(s)) }} {
			a, err := read(reply)
			if err != nil {
				continue
			}
			sum := 0.0
			for _, s := range (&Scale{Name: "e", Names: []string{"A"}, Weight: 1, Cap: 6}).Symbols(a) {
				sum += s.Score
			}
			if math.Abs(sum) > 6.002 && !math.IsInf(a.Score, 0) && math.Abs(a.Score) < 1e9 && math.Abs(a.Symbols["A"]) < 1e9 {
				t.Errorf("%+v adds %v", a, sum)
			}
		}
	})
}
