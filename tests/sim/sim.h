/* What all simulators agree on: the made-up project, key and team that Loa is configured with in a
 * rehearsal, and the channels that are counted. */
#ifndef LOA_SIM_SIM_H
#define LOA_SIM_SIM_H

#define SIM_PROJECT      "loa-rehearsal"
#define SIM_CLIENT_EMAIL "loa@loa-rehearsal.iam.gserviceaccount.com"
#define SIM_FCM_KEY_ID   "loasimfcmkey1"
#define SIM_APNS_KEY_ID  "LOASIMKEY1"
#define SIM_APNS_TEAM_ID "LOASIMTEAM"
#define SIM_APNS_TOPIC   "vn.gov.caobang.congdanso"

/* Clocks of client and provider may differ by this much before a token is refused. */
#define SIM_CLOCK_SKEW_S 300

enum sim_channel {
    SIM_FCM,   /* POST /v1/projects/…/messages:send */
    SIM_APNS,  /* POST /3/device/…, production and sandbox together */
    SIM_OAUTH, /* POST /token */
    SIM_IID,   /* POST /iid/v1:batchAdd, /iid/v1:batchRemove */
    SIM_CHANNELS,
};

#endif
