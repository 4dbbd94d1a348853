// Package configs holds the files of this folder that the binary needs without
// any file system: the shipped rules.
package configs

import "embed"

// Rules are the shipped rules files, rules/*.toml.
//
//go:embed rules/*.toml
var Rules embed.FS
