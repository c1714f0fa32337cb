package routers

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/authagent-go/authagent"
)

// Echo wraps handlers and middlewares by its own functions for that.
func Echo(rp *authagent.RelyingParty, orders Orders) http.Handler {
	e := echo.New()
	e.Any("/auth/agent/login", echo.WrapHandler(rp.LoginHandler()))
	e.Any("/auth/agent/callback", echo.WrapHandler(rp.CallbackHandler()))
	e.Any("/auth/agent/logout", echo.WrapHandler(rp.LogoutHandler()))

	read := echo.WrapMiddleware(rp.RequireAccess(authagent.AccessRead))
	action := echo.WrapMiddleware(rp.RequireAction("orders:create"))
	e.GET("/orders", echo.WrapHandler(http.HandlerFunc(orders.List)), read)
	e.POST("/orders", echo.WrapHandler(http.HandlerFunc(orders.Place)), action, read) // RequireAction is the outer one
	e.GET("/me", func(c *echo.Context) error { return c.String(http.StatusOK, whoActs(c.Request().Context())) }, read)
	return e
}
