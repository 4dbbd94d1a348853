package bayes

import (
	"math"
	"math/rand/v2"
)

// Training: logistic regression on the presence of features, the sum of
// weights divided by the root of their number, so that a long message is not
// surer than a short one. Adaptive steps (AdaGrad), the messages in an order
// that is shuffled anew in every round, always the same way: the same store
// gives the same model.
const (
	weightBits  = 21
	trainRounds = 8
	trainRate   = 0.5
	trainDecay  = 3e-5
	folds       = 4 // for the calibration
)

// lesson is one learned message.
type lesson struct {
	spam     bool
	day      uint32 // days since 1970 when it was learned
	digest   uint64
	sketch   sketch
	sketched bool
	features []uint32
}

type weights struct {
	w     []float32
	bias  float64
	steps []float32 // sums of squared gradients
}

func newWeights() *weights {
	return &weights{w: make([]float32, 1<<weightBits), steps: make([]float32, 1<<weightBits)}
}

func slotOf(feature uint32) uint32 { return feature >> (32 - weightBits) }

func (w *weights) score(features []uint32) float64 {
	sum := float32(0)
	for _, f := range features {
		sum += w.w[slotOf(f)]
	}
	return w.bias + float64(sum)/scale(len(features))
}

func scale(features int) float64 { return math.Sqrt(float64(features + 1)) }

// fit trains on lessons. Both classes weigh the same, however many there are.
func fit(lessons []*lesson) *weights {
	w := newWeights()
	var cost [2]float64
	for _, l := range lessons {
		cost[class(l.spam)]++
	}
	for i, n := range cost {
		cost[i] = float64(len(lessons)) / (2 * max(1, n))
	}
	order := make([]int, len(lessons))
	for i := range order {
		order[i] = i
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range trainRounds {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			w.step(lessons[i], cost[class(lessons[i].spam)])
		}
	}
	w.steps = nil
	return w
}

func class(spam bool) int {
	if spam {
		return 1
	}
	return 0
}

func (w *weights) step(l *lesson, cost float64) {
	g := cost * (logistic(w.score(l.features)) - float64(class(l.spam)))
	x := float32(g / scale(len(l.features)))
	for _, f := range l.features {
		k := slotOf(f)
		grad := x + trainDecay*w.w[k]
		w.steps[k] += grad * grad
		w.w[k] -= trainRate * grad / (float32(math.Sqrt(float64(w.steps[k]))) + 1e-6)
	}
	w.bias -= 0.01 * g
}

func logistic(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// calibration turns a score into a probability: logistic(slope*z + offset).
type calibration struct{ slope, offset float64 }

// minCalibrated is how many of each class it takes: of fewer, what is left out
// is too much of what there is.
const minCalibrated = 20

// calibrate fits it to the scores of messages that the weights did not see:
// each fold is scored by what was trained on the others. (Scores of messages
// that were trained on are all sure.)
func calibrate(lessons []*lesson) calibration {
	spam := 0
	for _, l := range lessons {
		spam += class(l.spam)
	}
	if min(spam, len(lessons)-spam) < minCalibrated {
		return calibration{slope: 1}
	}
	z := make([]float64, len(lessons))
	for k := range uint64(folds) {
		var rest []*lesson
		for _, l := range lessons {
			if l.fold() != k {
				rest = append(rest, l)
			}
		}
		w := fit(rest)
		for i, l := range lessons {
			if l.fold() == k {
				z[i] = w.score(l.features)
			}
		}
	}
	return platt(lessons, z)
}

func (l *lesson) fold() uint64 { return finish(l.digest, 0) % folds }

// platt is Platt's scaling with equal classes, by plain gradient descent on two
// numbers. The aims are a little short of 0 and 1, so that a set that is told
// apart without a mistake does not make it infinitely sure.
func platt(lessons []*lesson, z []float64) calibration {
	var n [2]float64
	for _, l := range lessons {
		n[class(l.spam)]++
	}
	aim := [2]float64{1 / (n[0] + 2), (n[1] + 1) / (n[1] + 2)}
	c := calibration{slope: 1}
	for range 2000 {
		var slope, offset, s2, o2 float64
		for i, l := range lessons {
			k := class(l.spam)
			p := logistic(c.slope*z[i] + c.offset)
			d := (p - aim[k]) / max(1, n[k])
			h := p * (1 - p) / max(1, n[k])
			slope, offset = slope+d*z[i], offset+d
			s2, o2 = s2+h*z[i]*z[i], o2+h
		}
		c.slope -= 0.5 * slope / (s2 + 1e-6)
		c.offset -= 0.5 * offset / (o2 + 1e-6)
		if math.Abs(slope) < 1e-7 && math.Abs(offset) < 1e-7 {
			break
		}
	}
	c.slope = min(10, max(0.1, c.slope))
	return c
}
