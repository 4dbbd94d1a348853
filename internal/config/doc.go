// Package config reads the gateway's one TOML file.
//
// The structs of config.go are the whole description of the file: their tags
// name each key, its default, what values it takes and what a domain inherits.
// One decoder walks them by reflection and remembers for every value where it
// came from, so that each fault is reported with its line, all faults at once,
// and `gateway config show` can say of every value in force who set it.
//
//	document.go  bytes -> a tree of tables and values that know their lines
//	decode.go    tree -> structs: unknown keys, wrong types, values out of range
//	scalar.go    the types a value can have, and what to write instead
//	validate.go  what only shows when several values are seen together
//	show.go      structs -> TOML again, with the origin of every value
//
// Relative paths are relative to the folder of the config file: a service's
// working directory is nothing that an admin sees.
package config
