package cf

import "time"

// LogLine is one line that an app, or the platform on behalf of it, wrote.
type LogLine struct {
	AppGUID string
	Time    time.Time
	// Source is what wrote it: APP/PROC/WEB, APP/TASK/NAME, RTR, STG, CELL or API.
	Source string
	// Instance is the index of the instance that wrote it, or of the cell or
	// router; a decimal number.
	Instance string
	Err      bool // from standard error
	// Text is the line without its end. It may hold any byte: the reader decides.
	Text []byte
}

// Logs takes log lines. Log never blocks for long and never fails: a line that
// cannot be kept is dropped and counted. It may keep the line's Text.
type Logs interface {
	Log(LogLine)
}
