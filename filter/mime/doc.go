// Package mime walks the structure of a message while it arrives (RFC 2045,
// RFC 2046): the tree of its parts, what each is and where it lies, and every
// place where mail clients read the same octets in different ways.
//
// The standard library's readers stop at the first fault, and hold to one
// reading; a filter has to go on, and to say that there are two. The walk is
// one pass in linear time, whatever the octets are cut into, and keeps no copy
// of the body: only the start of a line that may be a delimiter, and the header
// section of the part that begins.
//
// Text is decoded on the way and handed to a Sink, so that what content rules
// look at costs no second pass.
package mime
