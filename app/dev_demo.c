/* The demo: one emergency to everybody, by two people, the way it is done for real. The officials'
 * acts are the commands that they would type. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/dev.h"
#include "app/dev_control.h"
#include "app/dev_measure.h"
#include "base/error.h"
#include "base/json.h"

#define CREATOR  "Chi cục Thuỷ lợi – trực ban"
#define APPROVER "Sở KH&CN – lãnh đạo trực"

#define PHONES_LIMIT_MS   60000
#define RECEIPTS_LIMIT_MS 30000 /* the window is 10 s */

static const char text_vi[] =
    "{\"title\": \"CẢNH BÁO KHẨN CẤP: lũ quét, sạt lở đất\",\n"
    " \"body\": \"Mưa rất to từ đêm qua, lũ trên sông Bằng, sông Hiến và sông Gâm đang lên nhanh. "
    "Trong 6 giờ tới, nguy cơ rất cao xảy ra lũ quét, sạt lở đất trên địa bàn tỉnh, nhất là tại "
    "các xã Bảo Lạc, Bảo Lâm, Cô Ba, Nguyên Bình, Thông Nông, Hà Quảng, Trùng Khánh và các phường "
    "Thục Phán, Nùng Trí Cao, Tân Giang.\",\n"
    " \"instruction\": \"Rời ngay khu vực ven sông, ven suối, chân đồi dốc đến nơi cao, chắc chắn. "
    "Không đi qua ngầm, tràn, cầu đang ngập. Giúp đỡ người già, trẻ em, người khuyết tật. Mang "
    "theo giấy tờ, đèn pin, nước uống, điện thoại đã sạc. Làm theo hướng dẫn của UBND xã, phường. "
    "Cần cứu nạn: gọi 112 hoặc 114.\",\n"
    " \"correction_title\": \"ĐÍNH CHÍNH: thu hồi cảnh báo lũ quét, sạt lở đất\",\n"
    " \"correction_body\": \"Cảnh báo lũ quét, sạt lở đất đã gửi trước đó được thu hồi. Đề nghị "
    "người dân tiếp tục theo dõi thông báo của UBND xã, phường.\"}\n";

static const char text_en[] =
    "{\"title\": \"EMERGENCY WARNING: flash floods, landslides\",\n"
    " \"body\": \"Very heavy rain since last night; the Bằng, Hiến and Gâm rivers are rising fast. "
    "Flash floods and landslides are very likely in Cao Bằng province within the next 6 hours.\",\n"
    " \"instruction\": \"Leave river banks, stream beds and steep slopes now and go to high, solid "
    "ground. Do not cross flooded bridges or fords. Follow the commune's instructions. Rescue: "
    "call 112 or 114.\",\n"
    " \"correction_title\": \"CORRECTION: flash flood warning withdrawn\",\n"
    " \"correction_body\": \"The flash flood and landslide warning sent before is withdrawn. Keep "
    "following the commune's announcements.\"}\n";

static char *key_path(const struct dev *dev, const char *who)
{
    g_autofree char *name = g_strdup_printf("keys/%s.key", who);

    return dev_path(dev, name);
}

static bool create_accounts(struct dev *dev, GError **error)
{
    g_autofree char *creator = key_path(dev, "creator");
    g_autofree char *approver = key_path(dev, "approver");

    return dev_loa(dev, "accounts", false, error, "account", "create", CREATOR, "--key-out",
                   creator, NULL) &&
           dev_loa(dev, "accounts", false, error, "account", "create", APPROVER, "--key-out",
                   approver, NULL);
}

/* The id in the last line of the command's output. */
static bool read_id(struct dev *dev, GError **error)
{
    g_autofree char *path = dev_path(dev, "log/broadcast-create.log");
    g_autofree char *text = NULL;
    g_autoptr(json_t) answer = NULL;
    const char *line;

    if (!g_file_get_contents(path, &text, NULL, error))
        return false;
    g_strchomp(text);
    line = strrchr(text, '\n');
    line = line != NULL ? line + 1 : text;
    answer = json_parse_object(line, strlen(line), 65536, error);
    dev->broadcast_id = (int64_t)json_integer_value(json_object_get(answer, "broadcast"));
    return answer != NULL;
}

static bool create_broadcast(struct dev *dev, GError **error)
{
    g_autofree char *vi = dev_path(dev, "conf/text-vi.json");
    g_autofree char *en = dev_path(dev, "conf/text-en.json");
    g_autofree char *vi_option = g_strconcat("vi=", vi, NULL);
    g_autofree char *en_option = g_strconcat("en=", en, NULL);
    g_autofree char *key = key_path(dev, "creator");

    return g_file_set_contents(vi, text_vi, -1, error) &&
           g_file_set_contents(en, text_en, -1, error) &&
           dev_loa(dev, "broadcast-create", false, error, "broadcast", "create", "--kind",
                   "CANH_BAO", "--level", "khan_cap", "--province", "--expires", "6h", "--text",
                   vi_option, "--text", en_option, "--url", "https://caobang.gov.vn",
                   "--source-document", "Công điện khẩn của Ban Chỉ huy Phòng thủ dân sự tỉnh",
                   "--as", CREATOR, "--key", key, "--json", NULL) &&
           read_id(dev, error);
}

/* The canary's dry runs at the start are not part of the broadcast. */
static bool reset_counters(const struct dev *dev, GError **error)
{
    g_autoptr(json_t) answer = dev_control_call(dev->sim_control, "reset", error);

    return answer != NULL;
}

static bool release_and_follow(struct dev *dev, GError **error)
{
    g_autofree char *id = g_strdup_printf("%" PRId64, dev->broadcast_id);
    g_autofree char *key = key_path(dev, "approver");

    dev_state_write(dev);
    printf("\n\"%s\" has written the draft; \"%s\" reads it back and releases it:\n\n", CREATOR,
           APPROVER);
    fflush(stdout);
    if (!dev_loa(dev, "broadcast-approve", true, error, "broadcast", "approve", id, "--yes", "--as",
                 APPROVER, "--key", key, NULL))
        return false;
    putchar('\n');
    fflush(stdout);
    return dev_loa(dev, "broadcast-status", true, error, "broadcast", "status", id, "--follow",
                   NULL);
}

/* --- after the end: the phones of the fleet --- */

static int64_t fleet_number(const struct dev *dev, const char *name)
{
    g_autoptr(json_t) stats = dev_control_stats(dev->fleet_control, NULL);

    return (int64_t)json_integer_value(json_object_get(stats, name));
}

static bool phones_show_it(void *user)
{
    const struct dev *dev = user;

    return fleet_number(dev, "distinct") >= dev->connected;
}

static bool receipts_confirmed(void *user)
{
    const struct dev *dev = user;

    return fleet_number(dev, "receipts_confirmed") >= dev->connected;
}

/* What is missing after the wait is told by the numbers. */
static bool wait_for_phones(struct dev *dev, GError **error)
{
    g_autoptr(GError) late = NULL;

    if (dev->connected == 0)
        return true;
    printf("\nWaiting for the %d connected MQTT phones and their receipts …\n", dev->connected);
    fflush(stdout);
    if (!supervisor_wait(dev->supervisor, "phones", PHONES_LIMIT_MS, phones_show_it, dev, &late) ||
        !supervisor_wait(dev->supervisor, "receipts", RECEIPTS_LIMIT_MS, receipts_confirmed, dev,
                         &late)) {
        if (supervisor_stopping(dev->supervisor)) {
            g_propagate_error(error, g_steal_pointer(&late));
            return false;
        }
        fprintf(stderr, "%s\n", late->message);
    }
    return true;
}

bool dev_demo_run(struct dev *dev, GError **error)
{
    struct measure measure = {.progress = NULL};
    double cpu_s;
    bool ok;

    if (!create_accounts(dev, error) || !create_broadcast(dev, error) ||
        !reset_counters(dev, error))
        return false;
    cpu_s = measure_cpu_s(dev, "deliver");
    if (!release_and_follow(dev, error))
        return false;
    measure.cpu_s = measure_cpu_s(dev, "deliver") - cpu_s;
    ok = wait_for_phones(dev, error) && measure_read(dev, &measure, error);
    if (ok) {
        measure_print(dev, &measure);
        if (!dev->options.leave)
            printf("Running at http://127.0.0.1:%d: /alerts, /readyz, /metrics. Ctrl-C stops "
                   "everything.\nThe logs are in %s/log, process ids and ports in "
                   "%s/state.json.\n",
                   dev->options.port, dev->dir, dev->dir);
        measure_print_json(dev, &measure);
        ok = measure_adds_up(dev, &measure, error);
    }
    measure_clear(&measure);
    return ok;
}
