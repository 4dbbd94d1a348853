// Package attachment looks at what is attached to a message: what it is by its
// octets, its name and its declared type, and what lies inside: archives and
// messages up to six deep, macros, scripts and links that documents hold.
//
// It is a Taker of the MIME walk (package mime), by way of a small adapter in
// cmd/gateway: for each part that somebody could open it gets the octets of
// every reading as they arrive. What tells nothing beyond its first octets,
// pictures above all, is not kept. The rest is held, in memory or in a file
// without a name, until it is complete, and then examined by one of a fixed
// number of workers, beside the session.
//
// What it finds are symbols; each belongs to a filter.AttachmentClass, and the
// domain's policy says what becomes of a class. Whatever could not be looked at
// is a symbol too.
//
// Nothing is written under a name that came from outside, and nothing is run.
package attachment
