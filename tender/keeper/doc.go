// Package keeper holds guests so that they outlive who asked for them. A cell
// starts its guests through a keeper, a small process of its own (`dew keep`),
// which is their parent: when the cell is killed, no pipe breaks, no control
// channel closes and no exit status is lost, and the cell that comes after it
// gets everything back.
//
// A Client is the cell's side. It asks one question per connection to a Unix
// socket in a folder that only the owner can enter; the connection that started
// or adopted a guest stays, is how the guest's end is told, and its closing
// means that the cell is gone. The cell reads the guest's output pipes itself;
// only while it is gone the keeper does, and keeps the last of it, so that a
// guest never waits for a cell. Control frames always go through the keeper, so
// that a cell killed in the middle of one leaves no half frame behind.
//
// The keeper has one goroutine for its listener, one per connection, and
// per guest one that waits for its end, and two more that read its outputs or
// carry its control frames. Locks: Keeper.mu guards the
// table of guests, guest.mu who its cell is; Keeper.mu comes first. A Client
// has no lock and no goroutine; a Guest has one goroutine, ended by its end or
// by Close.
//
// The keeper refuses callers that are not its own user, and clients of another
// version of its protocol or of package abi. It ends by itself when it keeps
// nothing and nobody is connected. If it is killed, its guests
// end with it.
package keeper
