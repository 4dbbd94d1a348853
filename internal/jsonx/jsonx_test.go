package jsonx

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"
)

// reference is what encoding/json makes of v.
func reference(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\/", "\x00\x01\b\f\n\r\t\x1f\x7f", "<&>", "äöü€😀", "\xff\xfe a\xc3", "\u2028\u2029", "\ufffd", "eight   and \"more", "01234567\\", "01234567\x1f", "0123456\x7f\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := string(AppendString([]byte("x"), s)), "x"+reference(t, s); got != want {
			t.Fatalf("%q: %s, want %s", s, got, want)
		}
	})
}

func FuzzAppendFloat(f *testing.F) {
	for _, v := range []float64{0, math.Copysign(0, -1), 1, -2.5, 0.1, 1e-6, 9.99e-7, 1e-9, -1e-10, 1e20, 1e21, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			if got := string(appendFloat(nil, v)); got != "null" {
				t.Fatal(got)
			}
			return
		}
		if got, want := string(appendFloat(nil, v)), reference(t, v); got != want {
			t.Fatalf("%v: %s, want %s", v, got, want)
		}
	})
}

type inner struct {
	N int `json:"n"`
}

func (v *inner) AppendJSON(b []byte) []byte {
	o := Begin(b)
	o.Int("n", int64(v.N))
	return o.End()
}

func TestObject(t *testing.T) {
	type sample struct {
		A string            `json:"a"`
		B string            `json:"b,omitempty"`
		C int               `json:"c"`
		D int               `json:"d,omitempty"`
		E bool              `json:"e"`
		F bool              `json:"f,omitempty"`
		G float64           `json:"g"`
		H time.Time         `json:"h"`
		I []string          `json:"i"`
		J []string          `json:"j,omitempty"`
		K []inner           `json:"k"`
		L []inner           `json:"l,omitempty"`
		M inner             `json:"m"`
		N map[string]string `json:"n,omitempty"`
	}
	for _, v := range []sample{
		{},
		{I: []string{}, J: []string{}, K: []inner{}, L: []inner{}},
		{
			A: "{", B: "b", C: -1, D: 2, E: true, F: true, G: 0.5, H: time.Date(2026, 11, 21, 1, 2, 3, 4, time.FixedZone("", 3600)),
			I: []string{"", "x"}, J: []string{"y"}, K: []inner{{1}, {2}}, L: []inner{{3}}, M: inner{4}, N: map[string]string{"b": "{", "a\n": "", "": "x"},
		},
	} {
		o := Begin(nil)
		o.String("a", v.A)
		o.StringIf("b", v.B)
		o.Int("c", int64(v.C))
		o.IntIf("d", int64(v.D))
		o.Bool("e", v.E)
		o.BoolIf("f", v.F)
		o.Float("g", v.G)
		o.Time("h", v.H)
		o.Strings("i", v.I)
		o.StringsIf("j", v.J)
		List(&o, "k", v.K, (*inner).AppendJSON)
		ListIf(&o, "l", v.L, (*inner).AppendJSON)
		o.Value("m", &v.M)
		o.MapIf("n", v.N)
		if got, want := string(o.End()), reference(t, v); got != want {
			t.Errorf("\n%s, want\n%s", got, want)
		}
	}
}

func BenchmarkAppendString(b *testing.B) {
	buf := make([]byte, 0, 128)
	for b.Loop() {
		buf = AppendString(buf[:0], "250 2.0.0 Ok: queued as 01KAM3QJ6J8V5W2Y4Z7X9C1D3F")
	}
}
