package mailtest

import (
	"math/rand/v2"
	"reflect"
	"time"
)

// Fill sets every exported field of *v, and of all that it holds, to random
// values of which few are zero: for tests that compare two ways to treat each
// field. Odd seeds leave nothing empty.
func Fill(v any, seed uint64) {
	f := filler{rand.New(rand.NewPCG(seed, 0)), seed%2 == 1}
	f.fill(reflect.ValueOf(v).Elem())
}

type filler struct {
	*rand.Rand
	full bool
}

var fillStrings = []string{"x", "a \"quoted\" <word> & more", "\r\n\t\x00\x7f", "äöü \u2028", "\xff", "{", "127.0.0.2", ""}

func (f filler) fill(v reflect.Value) {
	if !f.full && f.IntN(4) == 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fillStrings[f.IntN(len(fillStrings)-1)])
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(f.Int64N(2000) - 2001)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(f.Uint64N(255) + 1)
	case reflect.Float64:
		v.SetFloat(float64(f.IntN(200)-301) / 20)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Array:
		for k := range v.Len() {
			f.fill(v.Index(k))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), f.IntN(3)+1, 4))
		for k := range v.Len() {
			f.fill(v.Index(k))
		}
	case reflect.Map:
		f.fillMap(v)
	case reflect.Struct:
		f.fillStruct(v)
	}
}

func (f filler) fillMap(v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for range f.IntN(3) + 1 {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(value)
		v.SetMapIndex(key, value)
	}
}

func (f filler) fillStruct(v reflect.Value) {
	if t, ok := v.Addr().Interface().(*time.Time); ok {
		*t = time.Unix(f.Int64N(1<<31), f.Int64N(1e9)).UTC()
		return
	}
	for k := range v.NumField() {
		if v.Type().Field(k).IsExported() {
			f.fill(v.Field(k))
		}
	}
}
