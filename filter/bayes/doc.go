// Package bayes is the learned filter: what an admin says is spam or ham
// (`gateway learn`), and what that says about the next message.
//
// A message becomes a set of features: its words and pairs of words next to
// each other, hosts and words of its links, sender, subject, structure
// (features.go). Features are hashes, keyed with a secret of the store: no text
// is kept. What only tells where a message was received (trace fields,
// recipients, years) is no feature.
//
// The store (store.go) keeps the features of every message that was learned, so
// that one can be forgotten, learned the other way round, or grow too old. A
// model (model.go) is trained from the whole store: weights by logistic
// regression, calibrated on messages that the weights were not trained on
// (train.go). Naive Bayes, which gave such filters their name, was tried on the
// same features and told newsletters from spam less well. The gateway sees the
// model alone, a table of 4 MiB in memory.
//
// The same store has sketches of the texts (sketch.go): a message that is
// nearly one which was learned as spam is FUZZY_SPAM. Attached files have
// fingerprints of the same kind (fingerprint.go, files.go).
package bayes
