package bayes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"

	"mailweir/filter"
)

// Model is what the gateway judges by: trained, immutable, safe for concurrent
// use. Its file, all numbers little-endian:
//
//	 0   8  "MWMODEL4"
//	 8   8  key of the features
//	16   8  id of the store's log that it was trained from
//	24   8  size of that log then
//	32   4  messages learned as spam
//	36   4  messages learned as ham
//	40   4  n, number of weights: 3 times 2^20, or 0 when one of the two is 0
//	44   4  m, number of sketches
//	48   4  offset, float32
//	52  12  slope of each view: the frame's, the text's, the source's; float32
//	64  2n  weights: signed, in units of 1/1024; a third for each view
//	 .. 68m sketches: 16 times 4 octets, then 4: 1 spam, 2 ham
//	 ..  4  CRC-32C of everything before it
type Model struct {
	key       uint64
	logID     uint64
	logSize   int64
	spam, ham int
	weights   [views][]int16 // nil: none
	calibration
	near *sketches
}

const (
	modelMagic  = "MWMODEL4"
	modelHead   = 64
	weightUnit  = 1.0 / 1024
	sketchBytes = 4*sketchSize + 4
	maxSketches = 2 * maxLessons
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Learned is how many messages the model was trained on.
func (m *Model) Learned() (spam, ham int) { return m.spam, m.ham }

// Opinion is what a model says about a message.
type Opinion struct {
	Probability float64 // that it is spam, where both are as frequent
	Known       int     // features that were learned
	Features    int
	// Says is what each place of the message adds to the log-odds.
	Says [places]float64
	// NearSpam and NearHam are how many of 16 parts of the text the nearest
	// learned message shares; 0 for none that is near.
	NearSpam, NearHam int
}

// mostly names the three places that say most, in log-odds.
func (o *Opinion) mostly() string {
	var b []byte
	said := o.Says
	for n := range 3 {
		most := 0
		for p := range said {
			if math.Abs(said[p]) > math.Abs(said[most]) {
				most = p
			}
		}
		if n > 0 {
			b = append(b, ", "...)
		}
		b = append(append(b, placeNames[most]...), ' ')
		if said[most] >= 0 {
			b = append(b, '+')
		}
		b = strconv.AppendFloat(b, said[most], 'f', 1, 64)
		said[most] = 0
	}
	return string(b)
}

// Judge looks at the facts of one message.
func (m *Model) Judge(f *filter.Facts) Opinion {
	e := extractors.Get().(*extractor)
	defer extractors.Put(e)
	features := e.features(f, m.key)
	o := Opinion{Probability: 0.5, Features: len(features.all)}
	if m.weights[viewText] != nil {
		m.weigh(e, &features, &o)
		z := m.offset
		for _, says := range o.Says {
			z += says
		}
		o.Probability = logistic(z)
	}
	if s, ok := sketchOf(f, m.key); ok {
		o.NearSpam, o.NearHam = m.near.nearest(&s)
	}
	return o
}

// weigh adds up what the places say, in every view that sees them.
func (m *Model) weigh(e *extractor, f *features, o *Opinion) {
	for v := range views {
		unit := m.unit(v, f)
		for p, from := place(0), 0; p < places; p, from = p+1, e.ends[p] {
			if !p.seenBy(v) {
				continue
			}
			sum, known := m.sum(v, f.all[from:e.ends[p]])
			o.Says[p] += unit * float64(sum)
			if p >= placeFrame || v == viewText {
				o.Known += known
			}
		}
	}
}

// unit is what a weight of 1 adds to the log-odds: the more features, the less
// each says.
func (m *Model) unit(v view, f *features) float64 {
	return m.slope[v] * weightUnit / scale(f.shared+f.own[v])
}

// sum adds up the weights of features, and tells how many have one.
func (m *Model) sum(v view, features []uint32) (sum, known int) {
	w := (*[1 << weightBits]int16)(m.weights[v])
	for _, f := range features {
		x := int(w[slotOf(f)])
		sum += x
		if x != 0 {
			known++
		}
	}
	return sum, known
}

// train makes a model of lessons.
func train(key uint64, lessons []*lesson) *Model {
	m := &Model{key: key, near: newSketches(len(lessons))}
	for _, l := range lessons {
		if l.spam {
			m.spam++
		} else {
			m.ham++
		}
		if l.sketched {
			m.near.add(l.sketch, l.spam)
		}
	}
	if m.spam == 0 || m.ham == 0 {
		return m
	}
	w, c := learn(lessons)
	m.calibration = c
	for v := range views {
		m.offset += c.slope[v] * w[v].bias
		m.weights[v] = make([]int16, len(w[v].slots))
		for i, s := range w[v].slots {
			m.weights[v][i] = int16(math.Round(min(32767, max(-32768, float64(s.weight)/weightUnit))))
		}
	}
	return m
}

func (m *Model) encode() []byte {
	n := int(views) * len(m.weights[viewText])
	b := make([]byte, modelHead, modelHead+2*n+sketchBytes*len(m.near.list)+4)
	copy(b, modelMagic)
	le := binary.LittleEndian
	le.PutUint64(b[8:], m.key)
	le.PutUint64(b[16:], m.logID)
	le.PutUint64(b[24:], uint64(m.logSize))
	le.PutUint32(b[32:], uint32(m.spam))
	le.PutUint32(b[36:], uint32(m.ham))
	le.PutUint32(b[40:], uint32(n))
	le.PutUint32(b[44:], uint32(len(m.near.list)))
	le.PutUint32(b[48:], math.Float32bits(float32(m.offset)))
	for v := range views {
		le.PutUint32(b[52+4*v:], math.Float32bits(float32(m.slope[v])))
	}
	for v := range views {
		for _, w := range m.weights[v] {
			b = le.AppendUint16(b, uint16(w))
		}
	}
	for i := range m.near.list {
		b = appendSketch(b, &m.near.list[i])
		b = le.AppendUint32(b, uint32(recordHam-class(m.near.spam[i])))
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendSketch(b []byte, s *sketch) []byte {
	for _, v := range s {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func readSketch(b []byte) (s sketch) {
	for i := range s {
		s[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return s
}

var errModel = errors.New("the model is damaged")

func decodeModel(b []byte) (*Model, error) {
	if len(b) >= 8 && string(b[:7]) == modelMagic[:7] && b[7] < modelMagic[7] {
		return nil, ErrOldVersion
	}
	if len(b) < modelHead+4 || string(b[:8]) != modelMagic {
		return nil, fmt.Errorf("%w: no model of this version", errModel)
	}
	le := binary.LittleEndian
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != le.Uint32(b[end:]) {
		return nil, fmt.Errorf("%w: wrong checksum", errModel)
	}
	n, sketched := int(le.Uint32(b[40:])), int(le.Uint32(b[44:]))
	if n != 0 && n != int(views)<<weightBits || sketched > maxSketches || end != modelHead+2*n+sketchBytes*sketched {
		return nil, fmt.Errorf("%w: wrong size", errModel)
	}
	float := func(at int) float64 { return float64(math.Float32frombits(le.Uint32(b[at:]))) }
	m := &Model{
		key: le.Uint64(b[8:]), logID: le.Uint64(b[16:]), logSize: int64(le.Uint64(b[24:])),
		spam: int(le.Uint32(b[32:])), ham: int(le.Uint32(b[36:])),
		calibration: calibration{offset: float(48)},
		near:        newSketches(sketched),
	}
	x := m.offset
	for v := range views {
		m.slope[v] = float(52 + 4*int(v))
		x += m.slope[v]
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil, fmt.Errorf("%w: no number", errModel)
	}
	b = b[modelHead:end]
	for v := range views {
		if n > 0 {
			m.weights[v] = make([]int16, 1<<weightBits)
		}
		for i := range m.weights[v] {
			m.weights[v][i] = int16(le.Uint16(b[2*i:]))
		}
		b = b[2*len(m.weights[v]):]
	}
	for ; len(b) > 0; b = b[sketchBytes:] {
		m.near.add(readSketch(b), le.Uint32(b[4*sketchSize:]) == recordSpam)
	}
	return m, nil
}
