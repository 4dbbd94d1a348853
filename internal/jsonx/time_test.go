package jsonx

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// AppendTime writes what time writes, whichever time and zone came before, and
// whoever else asks.
func TestAppendTime(t *testing.T) {
	berlin := time.FixedZone("", 3600)
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 0))
			at := time.Now()
			for range 20_000 {
				switch rnd.IntN(5) {
				case 0:
					at = at.UTC()
				case 1:
					at = at.In(berlin)
				case 2:
					at = time.Unix(rnd.Int64N(4e9), int64(rnd.IntN(1000)))
				case 3:
					at = at.Truncate(time.Duration(1 + rnd.IntN(1e9)))
				case 4:
					at = at.Add(time.Duration(rnd.IntN(1e9)))
				}
				if got, want := string(AppendTime(nil, at)), at.Format(time.RFC3339Nano); got != want {
					t.Errorf("%s, want %s", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkAppendTime(b *testing.B) {
	at, buf := time.Now(), make([]byte, 0, 64)
	for b.Loop() {
		buf = AppendTime(buf[:0], at)
	}
}
