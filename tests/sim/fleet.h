/* `loa-sim fleet`: thousands of MQTT phones against real brokers. They check signatures, count
 * repeats, send receipts until confirmed, and tell what they saw over a control socket. */
#ifndef LOA_SIM_FLEET_H
#define LOA_SIM_FLEET_H

/* Parses the options after "fleet", forks the processes, serves the control socket until SIGTERM
 * or SIGINT. Prints one JSON line {"devices":N} when every process has started to connect. Returns
 * a sysexits code. */
int fleet_main(int argc, char **argv);

#endif
