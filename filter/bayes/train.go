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
	trainRounds = 4
	trainDecay  = 3e-5
	folds       = 4  // for what is left out
	hardHam     = 20 // a ham that looks wholly like spam weighs as much more
)

var trainRates = [...]float32{0.5, 1}

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
	slots []slot
	bias  float64
}

// slot is a weight and what its step size depends on, next to each other.
type slot struct{ weight, squares float32 }

func slotOf(feature uint32) uint32 { return feature >> (32 - weightBits) }

func (w *weights) score(features []uint32) float64 {
	sum := float32(0)
	for _, f := range features {
		sum += w.slots[slotOf(f)].weight
	}
	return w.bias + float64(sum)/scale(len(features))
}

func scale(features int) float64 { return math.Sqrt(float64(features + 1)) }

// learn makes weights and their calibration.
func learn(lessons []*lesson) (*weights, calibration) {
	cost, spam := balance(lessons)
	if min(spam, len(lessons)-spam) < minCalibrated {
		return fit(lessons, cost), calibration{slope: 1}
	}
	harden(lessons, cost, leftOut(lessons, cost))
	c := platt(lessons, leftOut(lessons, cost))
	return fit(lessons, cost), c
}

// balance makes both classes weigh the same, however many there are.
func balance(lessons []*lesson) (cost []float64, spam int) {
	for _, l := range lessons {
		spam += class(l.spam)
	}
	n := [2]int{len(lessons) - spam, spam}
	cost = make([]float64, len(lessons))
	for i, l := range lessons {
		cost[i] = float64(len(lessons)) / float64(2*n[class(l.spam)])
	}
	return cost, spam
}

// harden makes ham weigh the more, the more it looks like spam to what was
// learned from the others: newsletters are few among the ham, and nearly all
// of what is ever lost.
func harden(lessons []*lesson, cost, z []float64) {
	for i, l := range lessons {
		if !l.spam {
			cost[i] *= 1 + hardHam*logistic(z[i])
		}
	}
}

// fit trains on lessons, each of which weighs cost. The weights are the mean of
// what slow and fast steps end at: the fast ones tell more apart, the slow ones
// are seldom sure of what is wrong.
func fit(lessons []*lesson, cost []float64) *weights {
	mean := &weights{slots: make([]slot, 1<<weightBits)}
	for k, rate := range trainRates {
		w := descend(lessons, cost, rate, uint64(k))
		for i := range w.slots {
			mean.slots[i].weight += w.slots[i].weight / float32(len(trainRates))
		}
		mean.bias += w.bias / float64(len(trainRates))
	}
	return mean
}

func descend(lessons []*lesson, cost []float64, rate float32, seed uint64) *weights {
	w := &weights{slots: make([]slot, 1<<weightBits)}
	order := make([]int, len(lessons))
	for i := range order {
		order[i] = i
	}
	rng := rand.New(rand.NewPCG(1, seed))
	for range trainRounds {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			w.step(lessons[i], cost[i], rate)
		}
	}
	return w
}

func class(spam bool) int {
	if spam {
		return 1
	}
	return 0
}

func (w *weights) step(l *lesson, cost float64, rate float32) {
	g := cost * (logistic(w.score(l.features)) - float64(class(l.spam)))
	x := float32(g / scale(len(l.features)))
	for _, f := range l.features {
		k := &w.slots[slotOf(f)]
		grad := x + trainDecay*k.weight
		k.squares += grad * grad
		k.weight -= rate * grad / (float32(math.Sqrt(float64(k.squares))) + 1e-6)
	}
	w.bias -= 0.01 * g
}

func logistic(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// calibration turns a score into a probability: logistic(slope*z + offset).
type calibration struct{ slope, offset float64 }

// minCalibrated is how many of each class it takes: of fewer, what is left out
// is too much of what there is.
const minCalibrated = 20

// leftOut are the scores of lessons that the weights did not see: each fold is
// scored by what was trained on the others. (Scores of messages that were
// trained on are all sure.)
func leftOut(lessons []*lesson, cost []float64) []float64 {
	z := make([]float64, len(lessons))
	for k := range uint64(folds) {
		var rest []*lesson
		var theirs []float64
		for i, l := range lessons {
			if l.fold() != k {
				rest, theirs = append(rest, l), append(theirs, cost[i])
			}
		}
		w := fit(rest, theirs)
		for i, l := range lessons {
			if l.fold() == k {
				z[i] = w.score(l.features)
			}
		}
	}
	return z
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
