package bayes

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
)

// Training: logistic regression on the presence of features, the sum of
// weights divided by the root of their number, so that a long message is not
// surer than a short one. Adaptive steps (AdaGrad), the messages in an order
// that is shuffled anew in every round, always the same way: the same store
// gives the same model.
const (
	weightBits  = 20 // of each view
	trainRounds = 4
	trainDecay  = 3e-5
	folds       = 4  // for what is left out
	hardHam     = 20 // a ham that looks wholly like spam weighs as much more
)

// trainRates are those of the slow and the fast descent. The frame has fewer
// features, so that each must say more.
var trainRates = [views][2]float32{viewFrame: {1, 2}, viewText: {0.5, 1}, viewSource: {0.5, 1}}

// lesson is one learned message.
type lesson struct {
	spam     bool
	day      uint32 // days since 1970 when it was learned
	digest   uint64
	sketch   sketch
	sketched bool
	features
}

// weights are those of one view.
type weights struct {
	view  view
	slots []slot
	bias  float64
}

// slot is a weight and what its step size depends on, next to each other.
type slot struct{ weight, squares float32 }

func slotOf(feature uint32) uint32 { return feature >> (32 - weightBits) }

func (w *weights) score(l *lesson) float64 {
	shared, own := l.of(w.view)
	return w.bias + float64(w.sum(shared)+w.sum(own))/scale(len(shared)+len(own))
}

func (w *weights) sum(features []uint32) (sum float32) {
	for _, f := range features {
		sum += w.slots[slotOf(f)].weight
	}
	return sum
}

func scale(features int) float64 { return math.Sqrt(float64(features + 1)) }

// learn makes the weights of all views, each beside the others, and what turns
// the scores of a message into one probability.
func learn(lessons []*lesson) (w [views]*weights, c calibration) {
	cost, spam := balance(lessons)
	calibrated := min(spam, len(lessons)-spam) >= minCalibrated
	var z [views][]float64
	var wg sync.WaitGroup
	for v := range views {
		wg.Go(func() {
			cost := slices.Clone(cost)
			if calibrated {
				harden(lessons, cost, leftOut(lessons, cost, v))
				z[v] = leftOut(lessons, cost, v)
			}
			w[v] = fit(lessons, cost, v)
		})
	}
	wg.Wait()
	if !calibrated {
		return w, calibration{slope: [views]float64{1. / 3, 1. / 3, 1. / 3}}
	}
	return w, calibrate(lessons, z)
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
func fit(lessons []*lesson, cost []float64, v view) *weights {
	mean := &weights{view: v, slots: make([]slot, 1<<weightBits)}
	for k, rate := range trainRates[v] {
		w := descend(lessons, cost, v, rate, uint64(k))
		for i := range w.slots {
			mean.slots[i].weight += w.slots[i].weight / float32(len(trainRates[v]))
		}
		mean.bias += w.bias / float64(len(trainRates[v]))
	}
	return mean
}

func descend(lessons []*lesson, cost []float64, v view, rate float32, seed uint64) *weights {
	w := &weights{view: v, slots: make([]slot, 1<<weightBits)}
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
	shared, own := l.of(w.view)
	g := cost * (logistic(w.score(l)) - float64(class(l.spam)))
	x := float32(g / scale(len(shared)+len(own)))
	w.move(shared, x, rate)
	w.move(own, x, rate)
	w.bias -= 0.01 * g
}

func (w *weights) move(features []uint32, x, rate float32) {
	for _, f := range features {
		k := &w.slots[slotOf(f)]
		grad := x + trainDecay*k.weight
		k.squares += grad * grad
		k.weight -= rate * grad / (float32(math.Sqrt(float64(k.squares))) + 1e-6)
	}
}

func logistic(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// line turns a score into log-odds.
type line struct{ slope, offset float64 }

func (l line) at(z float64) float64 { return l.slope*z + l.offset }

// calibration turns the scores of the views into a probability: the logistic
// of the sum of slope*z, and offset.
type calibration struct {
	slope  [views]float64
	offset float64
}

const minSlope = 0.1

// calibrate takes the mean of the views' log-odds, which is not as sure as they
// can be together: so it is calibrated in turn.
func calibrate(lessons []*lesson, z [views][]float64) (c calibration) {
	var each [views]line
	mean := make([]float64, len(lessons))
	for v := range views {
		if each[v] = platt(lessons, z[v]); each[v].slope < minSlope {
			each[v] = line{} // to a view that tells nothing nobody listens
		}
		for i := range mean {
			mean[i] += each[v].at(z[v][i]) / float64(views)
		}
	}
	all := platt(lessons, mean)
	all.slope = max(minSlope, all.slope)
	c.offset = all.offset
	for v := range views {
		c.slope[v] = all.slope * each[v].slope / float64(views)
		c.offset += all.slope * each[v].offset / float64(views)
	}
	return c
}

// minCalibrated is how many of each class it takes: of fewer, what is left out
// is too much of what there is.
const minCalibrated = 20

// leftOut are the scores of lessons that the weights did not see: each fold is
// scored by what was trained on the others. (Scores of messages that were
// trained on are all sure.)
func leftOut(lessons []*lesson, cost []float64, v view) []float64 {
	z := make([]float64, len(lessons))
	for k := range uint64(folds) {
		var rest []*lesson
		var theirs []float64
		for i, l := range lessons {
			if l.fold() != k {
				rest, theirs = append(rest, l), append(theirs, cost[i])
			}
		}
		w := fit(rest, theirs, v)
		for i, l := range lessons {
			if l.fold() == k {
				z[i] = w.score(l)
			}
		}
	}
	return z
}

func (l *lesson) fold() uint64 { return finish(l.digest, 0) % folds }

// platt is Platt's scaling with equal classes, by plain gradient descent on two
// numbers. The aims are a little short of 0 and 1, so that a set that is told
// apart without a mistake does not make it infinitely sure.
func platt(lessons []*lesson, z []float64) line {
	var n [2]float64
	for _, l := range lessons {
		n[class(l.spam)]++
	}
	aim := [2]float64{1 / (n[0] + 2), (n[1] + 1) / (n[1] + 2)}
	c := line{slope: 1}
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
	c.slope = min(10, c.slope)
	return c
}
