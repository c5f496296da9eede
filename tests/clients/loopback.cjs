// Preloaded into servers that would bind every interface: a listen() that names no host means 127.0.0.1.
"use strict";
const net = require("node:net");
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (first, ...rest) {
  const isPort = typeof first === "number" || (typeof first === "string" && /^\d+$/.test(first));
  if (isPort && typeof rest[0] !== "string") {
    return listen.call(this, Number(first), "127.0.0.1", ...rest);
  }
  if (first !== null && typeof first === "object" && "port" in first && !first.host) {
    return listen.call(this, { ...first, host: "127.0.0.1" }, ...rest);
  }
  return listen.call(this, first, ...rest);
};
